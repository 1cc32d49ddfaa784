"""What CMDB is still to have of what is here, as calls of its own API. No I/O.

CMDB is asked first what it has; `worker.expand.sync` has compared that with what is here. So a row that has no id of
CMDB's beside it is one that CMDB lacks.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, Literal, TypeVar

from worker.expand.naming import unbound_key
from worker.expand.plan import PlannedBind
from worker.expand.sync import CmdbInstance, StoredProcess

MOST_INSTANCES: Final = 100
"""What CMDB takes at once, of instances and of processes under one."""
MOST_PROCESSES: Final = 500
"""What it makes well within the 25 s that its servers wait for each other, in the installations that people report."""
_MOST_NAME_BYTES: Final = 256

T = TypeVar("T")
Api = Literal["create_service_instance", "create_process_instance", "update_process_instance"]


@dataclass(frozen=True, slots=True)
class Ours:
    """A service instance here. `cmdb_id` None = CMDB is not known to have it."""

    id: int
    bk_biz_id: int
    bk_module_id: int
    bk_host_id: int
    service_template_id: int
    instance_key: str
    name: str
    cmdb_id: int | None
    is_gone: bool
    processes: tuple[StoredProcess, ...] = ()

    @property
    def key(self) -> tuple[int, int, str]:
        """Module, host, and the name where there is no template: what CMDB's own instances are known by."""
        return self.bk_module_id, self.bk_host_id, "" if self.service_template_id else unbound_key(self.name)

    @property
    def is_clone(self) -> bool:
        """Whether it was to be a second one of its name on its host."""
        return self.key[2] != self.instance_key

    @property
    def is_named_by_cmdb(self) -> bool:
        """Whether its name is one that CMDB generates and would not take: it may generate another one by then."""
        return len(self.name.encode()) > _MOST_NAME_BYTES

    def may_be(self, listed: CmdbInstance) -> bool:
        """Whether one of CMDB's, which came of a call for it, is it."""
        if not self.is_named_by_cmdb:
            return listed.key == self.key
        names = {process.values["bk_process_name"] for process in self.processes}
        there = {process.values["bk_process_name"] for process in listed.processes or ()}
        return listed.key[:2] == self.key[:2] and there <= names


@dataclass(frozen=True, slots=True)
class Call:
    """A call that changes CMDB, and the instances here that it is made for, in the order of the body.

    `process_ids` are the processes here of one that is for processes alone.
    """

    api: Api
    body: Mapping[str, Any]
    instance_ids: tuple[int, ...]
    process_ids: tuple[int, ...] = ()

    @property
    def place(self) -> tuple[Api, tuple[int, ...], tuple[int, ...]]:
        """What tells it from others."""
        return self.api, self.instance_ids, self.process_ids


def lacks(one: Ours) -> bool:
    """Whether CMDB is still to have something of an instance; what it had and removed stays removed."""
    has_all = one.cmdb_id is not None and not any(
        process.cmdb_id is None or _lacks_rows(process) for process in one.processes
    )
    return not (one.is_gone or has_all)


def missing(ours: Iterable[Ours]) -> list[Call]:
    """The calls that bring to CMDB what it lacks of instances of one module.

    A process of an instance that CMDB has is created there, and a process that has other bind rows here is updated.
    Under an instance of a service template there is no call for a process: CMDB adds it when people synchronise the
    template (1108035).
    """
    known = [one for one in ours if not one.is_gone]
    new = [one for one in known if one.cmdb_id is None]
    calls = [_create(part) for part in _parts(new)]
    for one in known:
        if one.cmdb_id is not None:
            calls += _complete(one)
    return calls


def pieces(ours: Iterable[Ours], most: int) -> Iterator[list[Ours]]:
    """Cut instances into calls of a size that CMDB can bear: at most so many, and not too many processes."""
    piece: list[Ours] = []
    count = 0
    for one in ours:
        if piece and (len(piece) >= most or count + len(one.processes) > MOST_PROCESSES):
            yield piece
            piece, count = [], 0
        piece.append(one)
        count += len(one.processes)
    if piece:
        yield piece


def adopted(
    ours: Iterable[Ours], called_for: Collection[int], after_id: int, listed: Sequence[CmdbInstance]
) -> list[tuple[int, int]]:
    """The id here and CMDB's of what no name tells, and that came of a call whose end is not known.

    A clone has the name of one that was there before, and what CMDB names itself may have another one than here. That
    they are younger tells them, as CMDB's ids only ascend.

    Args:
        ours: instances of the module.
        called_for: those that the call was to create.
        after_id: the highest of CMDB's ids that was seen before the call.
        listed: what CMDB has now and is beside none of ours.
    """
    young = [one for one in listed if one.id > after_id]
    links = []
    for mine in ours:
        is_nameless = mine.is_clone or mine.is_named_by_cmdb
        if is_nameless and mine.cmdb_id is None and mine.id in called_for:
            found = next(filter(mine.may_be, young), None)
            if found is not None:
                young.remove(found)
                links.append((mine.id, found.id))
    return links


def _parts(values: Iterable[T]) -> Iterator[list[T]]:
    left = iter(values)
    while part := list(islice(left, MOST_INSTANCES)):
        yield part


def _create(new: Sequence[Ours]) -> Call:
    first = new[0]
    body = {
        "bk_biz_id": first.bk_biz_id,
        "bk_module_id": first.bk_module_id,
        "instances": [_instance(one) for one in new],
    }
    return Call("create_service_instance", body, tuple(one.id for one in new))


def _instance(one: Ours) -> dict[str, Any]:
    processes = [
        {"process_template_id": process.process_template_id, "process_info": _info(process.values, process.bind_info)}
        for process in one.processes
    ]
    name = {} if one.is_named_by_cmdb else {"service_instance_name": one.name}
    return {"bk_host_id": one.bk_host_id, **name, "processes": processes}


def _complete(one: Ours) -> Iterator[Call]:
    lacking = [process for process in one.processes if process.cmdb_id is None and not one.service_template_id]
    for part in _parts(lacking):
        infos = [{"process_info": _info(process.values, process.bind_info)} for process in part]
        body = {"bk_biz_id": one.bk_biz_id, "service_instance_id": one.cmdb_id, "processes": infos}
        yield Call("create_process_instance", body, (one.id,), _ids(part))
    differing = [process for process in one.processes if process.cmdb_id is not None and _lacks_rows(process)]
    for part in _parts(differing):
        infos = [_info(process.values, process.bind_info) | {"bk_process_id": process.cmdb_id} for process in part]
        yield Call("update_process_instance", {"bk_biz_id": one.bk_biz_id, "processes": infos}, (one.id,), _ids(part))


def _ids(processes: Iterable[StoredProcess]) -> tuple[int, ...]:
    return tuple(process.bk_process_id for process in processes)


def _lacks_rows(process: StoredProcess) -> bool:
    return not {row.template_row_id for row in process.bind_info} <= set(process.row_ids)


def _info(values: Mapping[str, Any], rows: Iterable[PlannedBind]) -> dict[str, Any]:
    return {**values, "bind_info": [row._asdict() for row in rows]}
