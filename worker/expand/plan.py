"""What the rules answer: the rows a batch asks for, before anyone looked whether they exist, and the warnings."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from contract.codes import Reason, Refused

MAX_WARNINGS: Final = 100
"""Of one plan; a caller who ignores a hundred reads no more of them."""


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

    def preview(self) -> list[dict[str, Any]]:
        """For a dry run: each instance that could be written as plain JSON, in input order and in CMDB's names.

        `processes` are as they would be inserted, each with its properties and ``bind_info``; ids are missing, because
        nothing has been reserved.
        """
        return [
            {
                "index": planned.index,
                "bk_biz_id": self.bk_biz_id,
                "bk_module_id": self.bk_module_id,
                "bk_host_id": planned.bk_host_id,
                "service_template_id": self.service_template_id,
                "name": planned.name,
                "processes": [
                    {
                        "process_template_id": process.process_template_id,
                        **process.values,
                        "bind_info": [row._asdict() for row in process.bind_info],
                    }
                    for process in planned.processes
                ],
            }
            for planned in self.instances
        ]


class Where(NamedTuple):
    """One process of one instance: the index of its item in the request, or its template when the request has none."""

    instance: int
    item: int | None
    process_template_id: int = 0

    def path(self, field: str = "") -> str:
        """Return the path of a field of ``process_info``, or of ``process_info`` itself, from the body's root."""
        process = f"process_template_id={self.process_template_id}" if self.item is None else self.item
        return f"instances[{self.instance}].processes[{process}].process_info{field and '.'}{field}"

    def in_template(self) -> "Where":
        """Return the same process as its template's: to blame for what no caller sent."""
        return self._replace(item=None)


# Not `Reason.LOCKED`: another value for a locked property is never an error (CMDB A23).
_IGNORED: Final = frozenset(
    {Reason.TEMPLATE_UNMATCHED, Reason.TEMPLATE_REPEATED, Reason.TEMPLATE_UNUSED, Reason.ROW_UNMATCHED}
)


class Warnings:
    """The first (path, reason) pairs in the order they were found; what comes after them is not kept.

    With `strict`, the paths of what would only be ignored go to `ignored` instead, all of them.
    """

    def __init__(self, *, strict: bool = False) -> None:
        self.ignored: list[str] = []
        self.found = 0
        """How many there were, kept or not."""
        self._strict = strict
        self._kept: list[tuple[str, Reason]] = []
        self._is_full = False

    def add(self, where: Where, field: str, reason: Reason) -> None:
        """Warn about a field of ``process_info``."""
        if self._strict or self._has_room():
            self.add_path(where.path(field), reason)
        else:
            self.found += 1

    def add_path(self, path: str, reason: Reason) -> None:
        """Warn about any other field."""
        self.found += 1
        if self._strict and reason in _IGNORED:
            self.ignored.append(path)
        elif self._has_room():
            self._kept.append((path, reason))

    def _has_room(self) -> bool:
        if len(self._kept) < MAX_WARNINGS:
            return True
        self._is_full = True
        return False

    def pairs(self) -> tuple[tuple[str, Reason], ...]:
        """Return at most `MAX_WARNINGS` pairs, then `Reason.MORE` at the path "" when there were others."""
        return (*self._kept, ("", Reason.MORE)) if self._is_full else tuple(self._kept)
