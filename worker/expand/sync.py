"""What CMDB has of service instances, as plain values, and what that changes in what is stored here.

CMDB is the authority on what it has: ids, names, values and the order of rows are its own. What was created here stays
as it is until CMDB has it too.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from worker.expand.naming import unbound_key
from worker.expand.plan import PlannedBind

_APART: Final = 257
"""More characters than a name in a request may have bytes: no request can name the key of such an instance."""


@dataclass(frozen=True, slots=True)
class CmdbProcess:
    """A process as CMDB lists it. `values` has every property; `id` is CMDB's."""

    id: int
    process_template_id: int
    values: Mapping[str, Any]
    bind_info: tuple[PlannedBind, ...] = ()

    @property
    def row_ids(self) -> list[int]:
        """Of its bind rows, in their order."""
        return [row.template_row_id for row in self.bind_info]


@dataclass(frozen=True, slots=True)
class CmdbInstance:
    """A service instance as CMDB lists it. `id` is CMDB's; `processes` None = they were not listed."""

    id: int
    bk_biz_id: int
    bk_module_id: int
    bk_host_id: int
    service_template_id: int
    name: str
    creator: str
    modifier: str
    bk_supplier_account: str
    create_time: datetime | None
    last_time: datetime | None
    labels: Mapping[str, str] | None = None
    processes: tuple[CmdbProcess, ...] | None = None

    @property
    def key(self) -> tuple[int, int, str]:
        """The natural key: module, host, and the name where there is no template."""
        return self.bk_module_id, self.bk_host_id, "" if self.service_template_id else unbound_key(self.name)


@dataclass(frozen=True, slots=True)
class StoredProcess:
    """A stored process with its place beside CMDB's: `cmdb_id` None = CMDB is not known to have it."""

    bk_process_id: int
    service_instance_id: int
    process_template_id: int
    values: Mapping[str, Any]
    bind_info: tuple[PlannedBind, ...]
    cmdb_id: int | None
    row_ids: tuple[int, ...]
    is_newer: bool = False
    """It came to CMDB after the page was read that it is compared with."""


@dataclass(frozen=True, slots=True)
class StoredInstance:
    """The same of a service instance."""

    id: int
    key: tuple[int, int, str]
    content: tuple[Any, ...]
    """As `content` gives it."""
    cmdb_id: int | None
    is_gone: bool


def content(instance: CmdbInstance) -> tuple[Any, ...]:
    """What may change of an instance."""
    return (
        instance.service_template_id,
        instance.name,
        instance.modifier,
        instance.bk_supplier_account,
        instance.labels and dict(instance.labels),
    )


def apart_key(why: str, id_: int) -> str:
    """The `instance_key` of an instance that no request finds: a second one of CMDB's under one key, or one gone."""
    return f"{why}/{id_}".ljust(_APART, ".")


@dataclass(slots=True)
class ProcessSync:
    """What a page changes of processes and their bind rows. Rows to insert have their ids already."""

    added: list[tuple[int, int, CmdbProcess]] = field(default_factory=list)
    """Id here, the instance's id here, the process."""
    changed: list[tuple[int, CmdbProcess]] = field(default_factory=list)
    linked: list[tuple[int, int, list[int]]] = field(default_factory=list)
    """Id here, CMDB's, CMDB's bind rows."""
    rows: list[tuple[int, int, PlannedBind, int]] = field(default_factory=list)
    """Process and host, bind row, its place: to insert or to overwrite."""
    gone_rows: list[tuple[int, PlannedBind]] = field(default_factory=list)
    gone: list[StoredProcess] = field(default_factory=list)
    refused: list[tuple[CmdbProcess, str]] = field(default_factory=list)


@dataclass(slots=True)
class Sync:
    """What one page of CMDB's instances changes. Rows to insert have their ids already."""

    added: list[tuple[int, str, CmdbInstance]] = field(default_factory=list)
    """Id here, `instance_key`, the instance."""
    changed: list[tuple[int, str, CmdbInstance]] = field(default_factory=list)
    linked: list[tuple[int, int]] = field(default_factory=list)
    """Id here and CMDB's, of what CMDB is seen to have for the first time, or again."""
    twins: list[tuple[int, int]] = field(default_factory=list)
    """CMDB's ids of two under one key; the second is kept apart."""
    moved: list[tuple[int, int]] = field(default_factory=list)
    """CMDB's id and the id here, where another instance had CMDB's."""
    returned: list[tuple[int, int, int]] = field(default_factory=list)
    """Id here, CMDB's, and the id here before, of what CMDB had no more and has again. Where a request has created it
    anew meanwhile, that one is it from now on."""
    refused: list[tuple[int, str]] = field(default_factory=list)
    """CMDB's id of what cannot be stored beside the rest, and why."""
    processes: ProcessSync = field(default_factory=ProcessSync)
    unchanged: int = 0


def sync_instances(
    listed: Sequence[CmdbInstance], stored: Iterable[StoredInstance], new_ids: Iterator[int]
) -> tuple[Sync, dict[int, int]]:
    """Compare a page of CMDB's with what is stored under its ids, its keys, or the same ids by chance.

    Returns:
        What changes (processes aside), and the id here of each of CMDB's.
    """
    known = list(stored)
    by_cmdb_id = {one.cmdb_id: one for one in known if one.cmdb_id is not None}
    taken = {one.id for one in known}
    holders: dict[tuple[int, int, str], StoredInstance | CmdbInstance] = {one.key: one for one in known}
    sync, ids = Sync(), dict[int, int]()
    for instance in listed:
        mine = by_cmdb_id.get(instance.id)
        holder = holders.get(instance.key)
        former = mine if mine is not None and mine.is_gone else None
        if (mine is None or former) and isinstance(holder, StoredInstance) and holder.cmdb_id is None:
            mine = holder
        if mine is not None and former is not None:
            sync.returned.append((mine.id, instance.id, former.id))
        is_free = holder is None or holder is mine
        key = instance.key[2] if is_free else apart_key("cmdb", instance.id)
        if not is_free and holder is not None:
            first = holder.cmdb_id if isinstance(holder, StoredInstance) else holder.id
            sync.twins.append((first or 0, instance.id))
        if mine is None:
            id_ = instance.id if instance.id not in taken else next(new_ids)
            if id_ != instance.id:
                sync.moved.append((instance.id, id_))
            sync.added.append((id_, key, instance))
            sync.linked.append((id_, instance.id))
        else:
            id_ = mine.id
            if holders.get(mine.key) is mine:
                del holders[mine.key]
            if mine.cmdb_id is None or mine.is_gone:
                sync.linked.append((id_, instance.id))
            if (*instance.key[:2], key) != mine.key or content(instance) != mine.content:
                sync.changed.append((id_, key, instance))
            else:
                sync.unchanged += 1
        holders[*instance.key[:2], key] = instance
        ids[instance.id] = id_
    return sync, ids


def sync_processes(
    listed: Sequence[CmdbInstance],
    ids: Mapping[int, int],
    stored: Iterable[StoredProcess],
    taken: Collection[int],
    new_ids: Iterator[int],
) -> ProcessSync:
    """Compare the processes of a page with those that are stored under the same instances.

    Args:
        listed: the page.
        ids: the id here of each of CMDB's instances.
        stored: all processes under those.
        taken: ids of CMDB's processes that are ids here.
        new_ids: for the processes whose id is taken.
    """
    sync = ProcessSync()
    under: dict[int, list[StoredProcess]] = defaultdict(list)
    for process in stored:
        under[process.service_instance_id].append(process)
    for instance in listed:
        if instance.processes is not None:
            id_ = ids[instance.id]
            _sync_under(sync, (id_, instance), under[id_], taken, new_ids)
    return sync


def _sync_under(
    sync: ProcessSync,
    owner: tuple[int, CmdbInstance],
    stored: Sequence[StoredProcess],
    taken: Collection[int],
    new_ids: Iterator[int],
) -> None:
    service_instance_id, instance = owner
    listed = instance.processes or ()
    listed_ids = {process.id for process in listed}
    gone = [one for one in stored if one.cmdb_id is not None and one.cmdb_id not in listed_ids and not one.is_newer]
    sync.gone += gone
    left = [one for one in stored if one not in gone]
    same = _Same(left)
    for process in listed:
        mine = same.find(process)
        if clash := same.clash(process, mine):
            sync.refused.append((process, clash))
            continue
        if mine is None:
            id_ = next(new_ids) if process.id in taken else process.id
            sync.added.append((id_, service_instance_id, process))
        else:
            id_ = mine.bk_process_id
            if mine.is_newer:
                same.keep(process, id_)
                continue
            if dict(mine.values) != dict(process.values) or mine.process_template_id != process.process_template_id:
                sync.changed.append((id_, process))
        same.keep(process, id_)
        _sync_rows(sync, id_, instance.bk_host_id, process, mine)


class _Same:
    """Which stored process a listed one is, and which other one stands in its way (CMDB 4.4)."""

    def __init__(self, stored: Iterable[StoredProcess]) -> None:
        self._left = list(stored)
        self._kept: list[tuple[int, CmdbProcess]] = []

    def find(self, process: CmdbProcess) -> StoredProcess | None:
        def is_same(one: StoredProcess) -> bool:
            if one.cmdb_id is not None:
                return one.cmdb_id == process.id
            if process.process_template_id:
                return one.process_template_id == process.process_template_id
            return bool(one.values["bk_process_name"] == process.values["bk_process_name"])

        return next((one for one in self._left if is_same(one)), None)

    def clash(self, process: CmdbProcess, mine: StoredProcess | None) -> str:
        ours = [one for one in self._left if one is not mine and one.cmdb_id is None]
        others = [(one.process_template_id, one.values) for one in ours]
        others += [(one.process_template_id, one.values) for _, one in self._kept]
        for template_id, values in others:
            if template_id and template_id == process.process_template_id:
                return "another process of the instance is of the same process template"
            if values["bk_process_name"] == process.values["bk_process_name"]:
                return "another process of the instance has the same bk_process_name"
            if process.values["bk_start_param_regex"] is not None and all(
                values[name] == process.values[name] for name in ("bk_func_name", "bk_start_param_regex")
            ):
                return "another process of the instance has the same bk_func_name and bk_start_param_regex"
        return ""

    def keep(self, process: CmdbProcess, id_: int) -> None:
        self._kept.append((id_, process))


def _sync_rows(sync: ProcessSync, id_: int, bk_host_id: int, process: CmdbProcess, mine: StoredProcess | None) -> None:
    before = {row.template_row_id: row for row in mine.bind_info} if mine else {}
    had = set(mine.row_ids) if mine else set()
    row_ids = process.row_ids
    ours = [row for row_id, row in before.items() if row_id not in had and row_id not in row_ids]
    wanted = [*process.bind_info, *ours]
    if mine is None or list(before.values()) != wanted:
        sync.gone_rows += ((id_, row) for row_id, row in before.items() if row_id in had.difference(row_ids))
        sync.rows += ((id_, bk_host_id, row, place) for place, row in enumerate(wanted))
    if mine is None or mine.cmdb_id is None or list(mine.row_ids) != row_ids:
        sync.linked.append((id_, process.id, row_ids))
