"""How a batch waits in the ledger: processes that several instances share are kept, and read again, once.

A caller mostly asks for the same processes on every host of a module. `contract.parse` makes one object of what it
reads twice; here such an object is written once and named by its place.
"""

from typing import Annotated, Any, NamedTuple, Self

from pydantic import Field, model_validator

from contract.batch import BatchHead, Id, InstanceSpec, ProcessSpec, ServiceInstanceBatch, Verbatim


class PackedInstance(NamedTuple):
    """An `InstanceSpec` of which null means absent; `place` is that of its processes in `PackedBatch.processes`."""

    bk_host_id: Id
    service_instance_name: Verbatim | None = None
    place: Annotated[int, Field(ge=0)] | None = None

    def unpack(self, lists: tuple[tuple[ProcessSpec, ...], ...]) -> InstanceSpec:
        """The instance again."""
        given: dict[str, Any] = {"bk_host_id": self.bk_host_id}
        if self.service_instance_name is not None:
            given["service_instance_name"] = self.service_instance_name
        if self.place is not None:
            given["processes"] = lists[self.place]
        return InstanceSpec(**given)


class PackedBatch(BatchHead):
    """A batch with each of its different lists of processes once."""

    processes: tuple[tuple[ProcessSpec, ...], ...] = ()
    instances: tuple[PackedInstance, ...]

    @model_validator(mode="after")
    def _places_exist(self) -> Self:
        if any(instance.place is not None and instance.place >= len(self.processes) for instance in self.instances):
            raise ValueError("place: no such list of processes")
        return self

    @classmethod
    def of(cls, batch: ServiceInstanceBatch) -> "PackedBatch":
        """Pack `batch`. Only what is the same object counts as shared: nothing is compared."""
        places: dict[tuple[int, ...], int] = {}
        lists: list[tuple[ProcessSpec, ...]] = []
        instances = []
        for instance in batch.instances:
            place = None
            if "processes" in instance.model_fields_set:
                place = places.setdefault(tuple(map(id, instance.processes)), len(lists))
                if place == len(lists):
                    lists.append(instance.processes)
            instances.append(PackedInstance(instance.bk_host_id, instance.service_instance_name, place))
        head = {name: getattr(batch, name) for name in batch.model_fields_set if name != "instances"}
        return cls(processes=tuple(lists), instances=tuple(instances), **head)

    def unpack(self) -> ServiceInstanceBatch:
        """The batch again, equal to what was packed; what was shared is shared."""
        head = {name: getattr(self, name) for name in self.model_fields_set if name in BatchHead.model_fields}
        return ServiceInstanceBatch(
            instances=tuple(instance.unpack(self.processes) for instance in self.instances), **head
        )
