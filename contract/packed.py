"""How a batch waits in the ledger: processes that several instances share are kept, and read again, once.

A caller mostly asks for the same processes on every host of a module. `contract.parse` makes one object of what it
reads twice; here such an object is written once and named by its place.
"""

from typing import Annotated, Any, Final, Self

import orjson
from pydantic import Field, TypeAdapter, field_validator, model_validator

from contract.batch import BatchHead, Id, ProcessSpec, ServiceInstanceBatch, Verbatim, written
from contract.recent import Recent

_PROCESSES: Final = TypeAdapter(tuple[ProcessSpec, ...])
_REMEMBERED_BYTES: Final = 8 * 1024
_remembered: Final[Recent[bytes, tuple[ProcessSpec, ...]]] = Recent(128)
"""Lists of processes that one batch after the other asks for: by their JSON, if it is not long."""


def pack(batch: ServiceInstanceBatch) -> dict[str, Any]:
    """`batch` for orjson to write, as `PackedBatch` reads it. Only what is the same object counts as shared."""
    places: dict[tuple[int, ...], int] = {}
    lists: list[orjson.Fragment] = []
    instances: list[tuple[int, str | None, int | None]] = []
    for instance in batch.instances:
        place, processes = None, instance.processes
        if processes or "processes" in instance.model_fields_set:
            place = places.setdefault(tuple(map(id, processes)), len(lists))
            if place == len(lists):
                lists.append(orjson.Fragment(written(processes).json))
        instances.append((instance.bk_host_id, instance.service_instance_name, place))
    head = {name: getattr(batch, name) for name in batch.model_fields_set}
    return {**head, "processes": lists, "instances": instances}


PackedInstance = tuple[Id, Verbatim | None, Annotated[int, Field(ge=0)] | None]
"""``bk_host_id`` and ``service_instance_name`` of an instance, and the place of its processes in
`PackedBatch.processes`; null means absent."""


class PackedBatch(BatchHead):
    """A batch with each of its different lists of processes once."""

    processes: tuple[tuple[ProcessSpec, ...], ...] = ()
    instances: tuple[PackedInstance, ...]

    @field_validator("processes", mode="before")
    @classmethod
    def _read_once(cls, lists: object) -> object:
        return [_read(one) if isinstance(one, list) else one for one in lists] if isinstance(lists, list) else lists

    @model_validator(mode="after")
    def _places_exist(self) -> Self:
        count = len(self.processes)
        if any(place is not None and place >= count for _, _, place in self.instances):
            raise ValueError("place: no such list of processes")
        return self

    def unpack(self) -> ServiceInstanceBatch:
        """The batch again, equal to what was packed; what was shared is shared."""
        head = {name: getattr(self, name) for name in self.model_fields_set if name in BatchHead.model_fields}
        # All instances in one call, which pydantic does in half the time.
        return ServiceInstanceBatch.model_validate({**head, "instances": [*map(self._given, self.instances)]})

    def _given(self, packed: PackedInstance) -> dict[str, Any]:
        bk_host_id, name, place = packed
        given: dict[str, Any] = {"bk_host_id": bk_host_id}
        if name is not None:
            given["service_instance_name"] = name
        if place is not None:
            given["processes"] = self.processes[place]
        return given


def _read(given: list[Any]) -> tuple[ProcessSpec, ...]:
    key = orjson.dumps(given)
    found = _remembered.get(key)
    if found is None:
        found = _PROCESSES.validate_python(given)
        if len(key) <= _REMEMBERED_BYTES:
            _remembered.put(key, found)
    return found
