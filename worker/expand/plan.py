"""What the rules answer: the rows a batch asks for, before anyone looked whether they exist."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from contract.codes import Reason, Refused


class PlannedBind(NamedTuple):
    """One bind row; the natural key is (bk_host_id, bk_process_id, template_row_id)."""

    template_row_id: int
    ip: str
    port: str
    protocol: str
    enable: bool


@dataclass(slots=True)  # not frozen: that takes three times as long to make, and a request has hundreds
class PlannedProcess:
    """One process. `values` has every scalar property of `contract.request.batch.PROCESS_PROPERTIES`, by CMDB's name.

    `item` is the index of the request's process item behind it, None when only a template asks for the process. It
    says where the process came from, not what it is, and does not count when processes are compared.
    """

    process_template_id: int
    values: Mapping[str, Any]
    bind_info: tuple[PlannedBind, ...] = ()
    item: int | None = field(default=None, compare=False)

    @property
    def bk_process_name(self) -> str:
        """The alias, unique within the instance."""
        name: str = self.values["bk_process_name"]
        return name


@dataclass(slots=True)  # as above
class PlannedInstance:
    """One service instance; the natural key is (bk_module_id, bk_host_id, instance_key).

    Instances of one plan that have the same `place` have the same `processes`: the place of their list in the plan.
    `duplicate_of` is the index of an earlier instance of the same request with the same key and content; such an
    instance brings no rows of its own and gets the same id. `is_name_given`: the caller chose the name, so an existing
    instance with another one differs from what was asked.
    """

    index: int
    bk_host_id: int
    instance_key: str
    name: str
    processes: tuple[PlannedProcess, ...]
    place: int
    duplicate_of: int | None = None
    is_name_given: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """All instances that can be written, in input order, and those that cannot, by input index."""

    bk_biz_id: int
    bk_module_id: int
    service_template_id: int
    instances: tuple[PlannedInstance, ...]
    refused: Mapping[int, Refused] = field(default_factory=dict)
    warnings: tuple[tuple[str, Reason], ...] = ()
    """(field path, reason) pairs, `Reason.MORE` at "" after too many; never values."""
