"""The keys under which a request may be sent twice: a caller's own, and ours, which have a blank as no caller's has."""

from typing import Annotated, Final

from pydantic import StringConstraints, TypeAdapter, ValidationError

from contract.codes import Code, Refused, Why

IdempotencyKey = Annotated[str, StringConstraints(strict=True, pattern=r"^[\x21-\x7e]{1,255}$")]
"""Printable ASCII without blanks, 1 to 255 characters."""

_KEY: Final[TypeAdapter[str]] = TypeAdapter(IdempotencyKey)


def parse_idempotency_key(key: object, path: str) -> str:
    """Check an idempotency key that was found at `path` (``Idempotency-Key``, ``client_request_id``).

    Raises:
        Refused: 1199007 no text, 1199006 not 1 to 255 printable ASCII characters without blanks.
    """
    if not isinstance(key, str):
        raise Refused(Code.PARAM_NOT_TEXT, path, path=path)
    try:
        return _KEY.validate_python(key)
    except ValidationError:
        raise Refused.field(Code.PARAM_INVALID, path, Why.KEY) from None


def key_of_body(digest: str) -> str:
    """Of a caller who knows no keys and sends the same body again."""
    return f"same {digest}"


def key_of_dry_run(key: str) -> str:
    """Of a dry run under a caller's key: it answers for no request that creates."""
    return f"validate {key}"


def key_of_retry(id_: str, what: str = "") -> str:
    """Of what is tried again of a request, or of that part of a job: asked twice, both get the same new one."""
    return f"retry {id_} {what}".rstrip()


def key_of_job(key: str) -> str:
    """Of a job under a caller's key: it answers for no single request."""
    return f"job {key}"
