"""What CMDB holds: lists that a test may change as it likes, and a journal from which a killed one comes back."""

import json
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TextIO

from chaos.cmdb.exchange import Item, Refused


@dataclass
class Change:
    """What one call changes: a transaction, and a line of the journal."""

    created: list[Item] = field(default_factory=list)
    """Service instances with their processes, as `list_service_instance_detail` has them."""
    added: list[Item] = field(default_factory=list)
    """Processes, each with the relation that names its service instance."""
    updated: list[Item] = field(default_factory=list)
    """The new values of processes."""
    deleted: list[int] = field(default_factory=list)
    """Service instances."""
    ended: list[int] = field(default_factory=list)
    """Processes."""

    @property
    def size(self) -> int:
        """How many processes it makes."""
        return sum(len(instance["process_instances"]) for instance in self.created) + len(self.added)

    def half(self) -> "Change":
        """The first half of what it makes; of one single instance without template, the half of its processes."""
        middle = len(self.created) // 2
        half = Change(self.created[:middle], self.added[: len(self.added) // 2], self.updated[: len(self.updated) // 2])
        if self.created and not (cut := self.created[middle])["service_template_id"]:
            few = cut["process_instances"][: len(cut["process_instances"]) // 2]
            half.created.append({**cut, "process_instances": few})
        return half


class World:
    """One business, as CMDB lists it. `lock` is held while something is looked up and changed.

    `journal`: where changes of instances are kept, if anywhere. Ids of instances and processes begin at `first_id`.
    """

    def __init__(self, journal: Path | None = None, *, first_id: int = 1) -> None:
        self.service_templates: list[Item] = []
        self.process_templates: list[Item] = []
        self.modules: list[Item] = []
        self.hosts: list[Item] = []
        self.hosts_of: dict[int, list[int]] = {}
        self.instances: list[Item] = []
        self.events: list[Item] = []
        self.lock = threading.RLock()
        self._given = dict.fromkeys(("instance", "process"), first_id - 1)
        self._journal: TextIO | None = None
        if journal is not None:
            for entry in read_journal(journal):
                self._apply(Change(**entry))
            self._journal = _opened(journal)

    def load(self, files: Iterable[Path]) -> None:
        """Take over a catalogue from files that hold CMDB's own answers, told apart by their names."""
        for file in files:
            items = _items(json.loads(file.read_text())["data"])
            match file.name.split(".")[0].split("-")[0]:
                case "list_service_template":
                    self.service_templates += items
                case "list_proc_template":
                    self.process_templates += items
                case "find_module_batch":
                    self.modules += items
                case "list_biz_hosts":
                    self.hosts += items
                case "find_module_host_relation":
                    for item in items:
                        for module in item["modules"]:
                            self.hosts_of.setdefault(module["bk_module_id"], []).append(item["host"]["bk_host_id"])

    def new_ids(self, kind: str, count: int) -> range:
        """The next ids of a kind. A refused call has used them up, as CMDB's counters go on outside the transaction."""
        with self.lock:
            first = 1 + max(self._given[kind], self._highest(kind))
            self._given[kind] = first + count - 1
        return range(first, first + count)

    def commit(self, change: Change) -> None:
        """Keep it, then show it."""
        with self.lock:
            self._write(asdict(change))
            self._apply(change)

    def module(self, id_: int) -> Item:
        """One module.

        Raises:
            Refused: there is none.
        """
        found = next((item for item in self.modules if item["bk_module_id"] == id_), None)
        if found is None:
            raise Refused(1101034, "none or several modules")
        return found

    def host(self, id_: int) -> Item:
        """One host."""
        return next((item for item in self.hosts if item["bk_host_id"] == id_), {})

    def templates_of(self, service_template_id: int) -> list[Item]:
        """Its process templates, by id."""
        found = [item for item in self.process_templates if item["service_template_id"] == service_template_id]
        return sorted(found, key=lambda item: item["id"])

    def close(self) -> None:
        """Close the journal."""
        if self._journal is not None:
            self._journal.close()

    def _highest(self, kind: str) -> int:
        if kind == "instance":
            return max((instance["id"] for instance in self.instances), default=0)
        return max((one["process"]["bk_process_id"] for one in processes(self.instances)), default=0)

    def _write(self, entry: Item) -> None:
        if self._journal is not None:
            self._journal.write(json.dumps(entry) + "\n")
            self._journal.flush()

    def _apply(self, change: Change) -> None:
        """Lists and items are replaced, never changed: somebody may be reading them."""
        kept = [one for one in self.instances if one["id"] not in change.deleted] if change.deleted else self.instances
        self.instances = [*kept, *change.created]
        if change.added or change.updated or change.ended:
            self._change_processes(change)
        for instance in change.created:
            self._given["instance"] = max(self._given["instance"], instance["id"])
        for process in (*processes(change.created), *change.added):
            self._given["process"] = max(self._given["process"], process["process"]["bk_process_id"])

    def _change_processes(self, change: Change) -> None:
        added: dict[int, list[Item]] = {}
        for process in change.added:
            added.setdefault(process["relation"]["service_instance_id"], []).append(process)
        values = {one["bk_process_id"]: one for one in change.updated}
        ended = set(change.ended)
        self.instances = [
            {
                **instance,
                "process_instances": [
                    {**one, "process": {**one["process"], **values.get(one["process"]["bk_process_id"], {})}}
                    for one in (*instance["process_instances"], *added.get(instance["id"], ()))
                    if one["process"]["bk_process_id"] not in ended
                ],
            }
            for instance in self.instances
        ]


def processes(instances: Iterable[Item]) -> Iterator[Item]:
    """All their processes, each with its relation."""
    return (process for instance in instances for process in instance["process_instances"])


def read_journal(path: Path) -> Iterator[Item]:
    """Its entries; the last one may have been cut off by a kill, and never happened then."""
    if not path.exists():
        return
    for line in path.read_bytes().splitlines(keepends=True):
        if line.endswith(b"\n"):
            yield json.loads(line)


def _opened(path: Path) -> TextIO:
    """Ready to be appended to, without a last entry that was cut off."""
    content = path.read_bytes() if path.exists() else b""
    path.write_bytes(content[: content.rfind(b"\n") + 1])
    return path.open("a", encoding="utf-8")


def _items(data: Any) -> Sequence[Item]:
    if isinstance(data, list):
        return data
    found: list[Item] = data.get("info", data.get("relation"))
    return found
