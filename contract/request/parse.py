"""A caller's JSON in, a `ServiceInstanceBatch` out, or every reason why not.

Read leniently (unknown keys, properties at two levels, a single bind row), never silently: what is not taken as sent
becomes a warning.

Most callers send bodies in which everything stands as the types have it: pydantic checks those as a whole, in one call,
several times faster than one object after the other. It can only tell that a body is right: of any other,
`contract.request.reader` says what is ignored, or wrong, and where.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import orjson
from pydantic import ValidationError

from contract.answer.status import Warning_
from contract.codes import Code, Refused, Why
from contract.request import keys
from contract.request.batch import MAX_INSTANCES, MAX_ROWS, ProcessList, ServiceInstanceBatch
from contract.request.idempotency import parse_idempotency_key
from contract.request.reader import Reader

if TYPE_CHECKING:
    from contract.known import Known
    from contract.settings import Settings


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


def with_defaults(
    body: dict[str, Any],
    caller: "Known | None",
    deployment: "Settings",
    names: Sequence[str] = ("on_existing", "mode"),
) -> dict[str, Any]:
    """`body` with those of these fields that it leaves out, as its caller, else the deployment has them.

    ``null`` equals absent.
    """
    missing = {
        name: getattr(caller, name, None) or getattr(deployment, name) for name in names if body.get(name) is None
    }
    return {**body, **missing} if missing else body


def plain_batch(body: Mapping[str, Any]) -> ServiceInstanceBatch | None:
    """The batch of a body that gives no cause for a word; None for any other."""
    instances = body.get("instances")
    if not (body.keys() <= keys.BODY and isinstance(instances, list) and len(instances) <= MAX_INSTANCES):
        return None
    try:
        if (key := body.get("client_request_id")) is not None:
            parse_idempotency_key(key, "client_request_id")
        head = {name: body[name] for name in body if name in keys.HEAD and body[name] is not None}
        return ServiceInstanceBatch.checked({**head, **_shared(instances)})
    except (_NotPlain, Refused, ValidationError):
        return None


class _NotPlain(Exception):
    """Something would have to be said, or is no JSON."""


def _shared(instances: list[Any]) -> dict[str, Any]:
    """Instances, and the distinct process lists, told apart by their JSON: ``==`` does not tell 1 from true."""
    places: dict[bytes, int] = {}
    lists: list[ProcessList] = []
    rows_of: list[int] = []
    found = []
    rows = 0
    for instance in instances:
        if not (isinstance(instance, dict) and instance.keys() <= keys.INSTANCE):
            raise _NotPlain
        place, processes = None, instance.get("processes")
        if processes is not None:
            place = places.setdefault(_json(processes), len(lists))
            if place == len(lists):
                lists.append(processes)
                rows_of.append(_count_rows(processes))
            rows += rows_of[place]
        found.append((instance.get("bk_host_id"), instance.get("service_instance_name"), place))
    if rows > MAX_ROWS:  # they must cost nothing
        raise _NotPlain
    return {"processes": lists, "instances": found}


def _json(value: object) -> bytes:
    try:
        return orjson.dumps(value)
    except TypeError:
        raise _NotPlain from None


def _count_rows(processes: object) -> int:
    """How many rows a process list is, whose types nobody has looked at."""
    if not isinstance(processes, list):
        raise _NotPlain
    rows = len(processes)
    for process in processes:
        info = process.get("process_info") if isinstance(process, dict) else None
        bind_info = info.get("bind_info") if isinstance(info, dict) else None
        rows += len(bind_info) if isinstance(bind_info, list) else 0
    return rows
