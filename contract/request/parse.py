"""A caller's JSON in, a `ServiceInstanceBatch` out, or every reason why not.

Read leniently (unknown keys, properties at two levels, a single bind row), never silently: what is not taken as sent
becomes a warning.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from contract.answer.items import Warning_
from contract.codes import Code, Refused, Why
from contract.request.batch import ServiceInstanceBatch
from contract.request.plain import plain_batch
from contract.request.reader import Reader


class BatchRefused(Exception):
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
    """Make a batch of a decoded JSON body.

    * ``null`` equals absent, except for a property of a process and a column of a bind row.
    * Properties are also read from beside ``process_info``; the nested one wins.
    * ``bind_info`` is an array; a single object counts as one row.
    * Keys that are unknown or belong to the server are ignored with a warning, or refused with `strict`, the argument
      or the body's own (1199006). The batch carries it on: the worker refuses what only it can see.
    * Keys are matched exactly; CMDB's own indifference to case is not copied.

    Raises:
        BatchRefused: with every error found, in CMDB's order of checks (V1, V2, …), then in the body's order. Codes:
            1199007/1199009/1199025 wrong type, 1199010 missing, 1199035 too many, 1199006 anything else.
    """
    if not isinstance(body, Mapping):
        raise BatchRefused((Refused.field(Code.PARAM_INVALID, "$", Why.NOT_AN_OBJECT),))
    strict = strict or body.get("strict") is True
    warnings: tuple[Warning_, ...] = ()
    batch = plain_batch(body)
    if batch is None:
        reader = Reader(strict=strict)
        batch = reader.read(body)
        if batch is None:
            raise BatchRefused(reader.found.errors)
        warnings = reader.found.warnings
    return ParsedBatch(replace(batch, strict=True) if strict else batch, warnings, body.get("client_request_id"))
