"""The key under which a caller may send a request twice."""

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
