"""How a batch waits in its pending entry: processes that several instances share are kept, and read again, once.

A caller mostly asks for the same processes on every host of a module. `parse` makes one object of what it reads twice;
here such an object is written once and named by its place.
"""

from collections.abc import Sequence
from typing import Any, Final

import orjson
from pydantic import TypeAdapter

from contract.request.batch import (
    REMEMBERED_LENGTH,
    REMEMBERED_LISTS,
    ProcessSpec,
    ServiceInstanceBatch,
    texts_of_processes,
)
from plumbing.lru import Recent

_PROCESSES: Final = TypeAdapter(tuple[ProcessSpec, ...])
_remembered: Final[Recent[bytes, tuple[ProcessSpec, ...]]] = Recent(REMEMBERED_LISTS)
"""Lists of processes that one batch after the other asks for: by their JSON, if it is not long."""


def pack(batch: ServiceInstanceBatch) -> dict[str, Any]:
    """`batch` for orjson to write. Only what is the same object counts as shared: nothing is compared.

    The keys are those of the batch, and ``processes``: each different list of processes once. An instance is
    ``[bk_host_id, service_instance_name, place]``, `place` being that of its processes; null means absent.
    """
    places: dict[tuple[int, ...], int] = {}
    lists: list[orjson.Fragment] = []
    instances: list[tuple[int, str | None, int | None]] = []
    for instance in batch.instances:
        place, processes = None, instance.processes
        if processes or "processes" in instance.model_fields_set:
            place = places.setdefault(tuple(map(id, processes)), len(lists))
            if place == len(lists):
                lists.append(orjson.Fragment(f"[{texts_of_processes(processes).stored}]"))
        instances.append((instance.bk_host_id, instance.service_instance_name, place))
    head = {name: getattr(batch, name) for name in batch.model_fields_set}
    return {**head, "processes": lists, "instances": instances}


def unpack(stored: object) -> object:
    """What `pack` made, as `ServiceInstanceBatch` is validated; what was shared is shared again.

    Raises:
        ValueError: it is not what `pack` makes. What stands in it, the model looks at.
    """
    if not isinstance(stored, dict):
        return stored
    lists, instances = stored.get("processes", []), stored.get("instances")
    if not isinstance(lists, list) or not isinstance(instances, list):
        raise ValueError("not a packed batch")  # noqa: TRY004 - as pydantic wants it
    processes = [_read(one) for one in lists]
    head = {name: value for name, value in stored.items() if name != "processes"}
    return {**head, "instances": [_unpacked(instance, processes) for instance in instances]}


def _unpacked(packed: object, processes: Sequence[tuple[ProcessSpec, ...]]) -> dict[str, Any]:
    if not isinstance(packed, list) or len(packed) != 3:
        raise ValueError("not a packed instance")
    bk_host_id, name, place = packed
    given: dict[str, Any] = {"bk_host_id": bk_host_id}
    if name is not None:
        given["service_instance_name"] = name
    if place is not None:
        if not isinstance(place, int) or not 0 <= place < len(processes):
            raise ValueError("place: no such list of processes")
        given["processes"] = processes[place]
    return given


def _read(given: object) -> tuple[ProcessSpec, ...]:
    key = orjson.dumps(given)
    found = _remembered.get(key)
    if found is None:
        found = _PROCESSES.validate_python(given)
        if len(key) <= REMEMBERED_LENGTH:
            _remembered.put(key, found)
    return found
