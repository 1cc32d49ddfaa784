"""A caller's JSON in, a `ServiceInstanceBatch` out, or every reason why not.

Read leniently (unknown keys, properties at two levels, a single bind row), never silently: what is not taken as sent
becomes a warning.
"""

from dataclasses import dataclass
from typing import Annotated, Final

from pydantic import StringConstraints

from contract.batch import ServiceInstanceBatch
from contract.codes import Refused
from contract.envelope import Warning_

MAX_ERRORS: Final = 20
MAX_WARNINGS: Final = 100

IDENTITY_KEYS: Final = frozenset(
    {"bk_app_code", "bk_app_secret", "bk_username", "bk_token", "app_code", "app_secret", "username", "access_token"}
    | {"bk_ticket", "bk_signature", "bk_timestamp", "bk_nonce"}
)
"""Top-level keys that say who calls (ESB's common arguments). Never part of a batch, a warning or a stored payload."""

IdempotencyKey = Annotated[str, StringConstraints(strict=True, pattern=r"^[\x21-\x7e]{1,255}$")]
"""Printable ASCII without blanks, 1 to 255 characters."""


class BatchRefused(Exception):  # noqa: N818 - an error name says the fact
    """A body is no acceptable batch. `errors` holds 1 to 20 `Refused`; the first decides the envelope."""

    def __init__(self, errors: tuple[Refused, ...]) -> None:
        super().__init__(errors)
        self.errors = errors


@dataclass(frozen=True, slots=True)
class ParsedBatch:
    """A batch, what was ignored on the way (at most 101 warnings), and the body's own idempotency key."""

    batch: ServiceInstanceBatch
    warnings: tuple[Warning_, ...] = ()
    client_request_id: str | None = None


def parse(body: object, *, strict: bool = False) -> ParsedBatch:
    """Make a batch of a decoded JSON body. Fields are read as `docs` describe them, leniently in what is accepted.

    * ``null`` equals absent, except for a property of a process and a column of a bind row.
    * Properties are also read from beside ``process_info``; the nested one wins.
    * ``bind_info`` is an array; a single object counts as one row.
    * Keys that are unknown or belong to the server are ignored with a warning, or refused with `strict` (1199006).

    Raises:
        BatchRefused: with every error found, in CMDB's order of checks (V1, V2, …), then in the body's order. Codes:
            1199007/1199009/1199025 wrong type, 1199010 missing, 1199035 too many, 1199006 anything else.
    """
    raise NotImplementedError  # the walk follows in the next commit
