"""How a batch waits in the ledger: processes that several instances share are kept, and read again, once.

A caller mostly asks for the same processes on every host of a module. `contract.parse` makes one object of what it
reads twice; here such an object is written once and named by its place.
"""

from typing import Annotated, Self

from pydantic import Field, model_validator

from contract.batch import BatchHead, InstanceSpec, ProcessSpec, ServiceInstanceBatch


class PackedInstance(InstanceSpec):
    """An instance whose processes stand elsewhere: at the place `shared` of `PackedBatch.processes`."""

    shared: Annotated[int, Field(ge=0)] | None = None


class PackedBatch(BatchHead):
    """A batch with each of its different lists of processes once."""

    processes: tuple[tuple[ProcessSpec, ...], ...] = ()
    instances: tuple[PackedInstance, ...]

    @model_validator(mode="after")
    def _places_exist(self) -> Self:
        if any(instance.shared is not None and instance.shared >= len(self.processes) for instance in self.instances):
            raise ValueError("shared: no such list of processes")
        return self

    @classmethod
    def of(cls, batch: ServiceInstanceBatch) -> "PackedBatch":
        """Pack `batch`. Only what is the same object counts as shared: nothing is compared."""
        places: dict[tuple[int, ...], int] = {}
        lists: list[tuple[ProcessSpec, ...]] = []
        instances = []
        for instance in batch.instances:
            values = {name: getattr(instance, name) for name in instance.model_fields_set}
            processes = values.pop("processes", None)
            if processes is not None:
                place = places.setdefault(tuple(map(id, processes)), len(lists))
                if place == len(lists):
                    lists.append(processes)
                values["shared"] = place
            instances.append(PackedInstance.model_construct(set(values), **values))
        head = {name: getattr(batch, name) for name in batch.model_fields_set if name != "instances"}
        values = {**head, "processes": tuple(lists), "instances": tuple(instances)}
        return cls.model_construct(set(values), **values)

    def unpack(self) -> ServiceInstanceBatch:
        """The batch again, equal to what was packed; what was shared is shared."""
        instances = []
        for instance in self.instances:
            values = {name: getattr(instance, name) for name in instance.model_fields_set}
            place = values.pop("shared", None)
            if place is not None:
                values["processes"] = self.processes[place]
            instances.append(InstanceSpec.model_construct(set(values), **values))
        head = {name: getattr(self, name) for name in self.model_fields_set if name in BatchHead.model_fields}
        return ServiceInstanceBatch(instances=tuple(instances), **head)
