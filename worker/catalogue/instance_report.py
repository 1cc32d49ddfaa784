"""What was taken over of CMDB's service instances, for people and for machines."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from worker.catalogue.instance_items import Listed
from worker.catalogue.report import SHOWN, counts_table, rest
from worker.expand.sync import Sync


@dataclass(slots=True)
class InstanceReport:
    """Counts, and a line for everything that somebody may want to look into."""

    instances: dict[str, int] = field(default_factory=lambda: dict.fromkeys(("added", "changed", "unchanged"), 0))
    processes: dict[str, int] = field(default_factory=lambda: dict.fromkeys(("added", "changed", "gone"), 0))
    bind_rows: dict[str, int] = field(default_factory=lambda: dict.fromkeys(("written", "gone"), 0))
    gone: list[tuple[int, int]] = field(default_factory=list)
    """Id here and CMDB's of the service instances that CMDB has no more."""
    twins: list[tuple[int, int]] = field(default_factory=list)
    """CMDB's ids of two under one key: the same module and host, and the same name where there is no template."""
    matched: list[tuple[int, int]] = field(default_factory=list)
    """Id here and CMDB's where both had created the same one."""
    moved: list[tuple[int, int]] = field(default_factory=list)
    """CMDB's id and the id here, where CMDB's was in use here."""
    returned: list[tuple[int, int, int]] = field(default_factory=list)
    """Id here, CMDB's, and the id here before, of what CMDB had no more and has again."""
    left_out: list[str] = field(default_factory=list)
    has_unreadable_id: bool = False

    def add(self, listed: Listed, syncs: Sequence[Sync]) -> None:
        """Count a page."""
        self.left_out += listed.left_out
        self.has_unreadable_id |= listed.has_unreadable_id
        for sync in syncs:
            self._count(sync)

    def _count(self, sync: Sync) -> None:
        self.instances["added"] += len(sync.added)
        self.instances["changed"] += len(sync.changed)
        self.instances["unchanged"] += sync.unchanged
        self.twins += sync.twins
        self.moved += sync.moved
        self.returned += sync.returned
        known = {id_ for id_, _, _ in (*sync.added, *sync.returned)}
        self.matched += [(id_, cmdb_id) for id_, cmdb_id in sync.linked if id_ not in known]
        processes = sync.processes
        self.processes["added"] += len(processes.added)
        self.processes["changed"] += len(processes.changed)
        self.processes["gone"] += len(processes.gone)
        self.bind_rows["written"] += len(processes.rows)
        self.bind_rows["gone"] += len(processes.gone_rows)
        self.left_out += [f"service instance {cmdb_id}: {reason}" for cmdb_id, reason in sync.refused]
        self.left_out += [f"process {process.id}: {reason}" for process, reason in processes.refused]

    def as_dict(self) -> dict[str, Any]:
        """The whole report as plain JSON values."""
        return {
            "service_instances": self.instances | {"gone": len(self.gone)},
            "processes": self.processes,
            "bind_rows": self.bind_rows,
            "gone": [{"id": id_, "cmdb_id": cmdb_id} for id_, cmdb_id in self.gone],
            "twins": [list(pair) for pair in self.twins],
            "matched": [{"id": id_, "cmdb_id": cmdb_id} for id_, cmdb_id in self.matched],
            "moved": [{"cmdb_id": cmdb_id, "id": id_} for cmdb_id, id_ in self.moved],
            "returned": [{"id": id_, "cmdb_id": cmdb_id, "former_id": old} for id_, cmdb_id, old in self.returned],
            "left_out": self.left_out,
        }

    def __rich__(self) -> RenderableType:
        """A table of counts, then what somebody may want to look into."""
        return Group(self._table(), *self._lines())

    def _table(self) -> Table:
        added, changed, unchanged = self.instances.values()
        counted = {
            "service instances": (added, changed, len(self.gone), unchanged),
            "processes": (*self.processes.values(), 0),
            "bind rows": (0, *self.bind_rows.values(), 0),
        }
        return counts_table(counted, "added", "changed", "gone", "unchanged")

    def _lines(self) -> Iterator[Text]:
        for title, found in (
            ("gone in CMDB, kept and marked here", [f"{id_} (CMDB's {cmdb_id})" for id_, cmdb_id in self.gone]),
            ("CMDB has it again", [_returned(*one) for one in self.returned]),
            ("CMDB has two of one module and host", [f"{first} and {second}" for first, second in self.twins]),
            ("created on both sides", [f"{id_} is CMDB's {cmdb_id}" for id_, cmdb_id in self.matched]),
            ("id in use here", [f"CMDB's {cmdb_id} is {id_}" for cmdb_id, id_ in self.moved]),
            ("left out", self.left_out),
        ):
            for line in found[:SHOWN]:
                yield Text(f"{title}: {line}", style="yellow")
            yield from rest(len(found))


def _returned(id_: int, cmdb_id: int, former_id: int) -> str:
    anew = "" if id_ == former_id else f", created anew meanwhile; {former_id} stays marked as gone"
    return f"{id_} (CMDB's {cmdb_id}){anew}"
