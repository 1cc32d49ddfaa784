"""Bodies in which everything stands as the types have it: checked by pydantic as a whole, in one call.

That is what most callers send, and it is several times faster than to look at one object after the other. It can only
tell that a body is right: of any other, `contract.request.reader` says what is ignored, or wrong, and where.
"""

from collections.abc import Mapping
from typing import Any

import orjson
from pydantic import ValidationError

from contract.codes import Refused
from contract.request import keys
from contract.request.batch import MAX_INSTANCES, MAX_ROWS, ProcessList, ServiceInstanceBatch
from contract.request.idempotency import parse_idempotency_key


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
