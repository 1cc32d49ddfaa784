"""What a planned instance adds to one that exists already: what is missing is added, what is there stays as it is."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from contract.codes import Code, Refused
from worker.expand.catalogue import Host
from worker.expand.plan import PlannedBind, PlannedInstance, PlannedProcess, Where
from worker.expand.values import func_key


@dataclass(frozen=True, slots=True)
class ExistingProcess:
    """A stored process. `values` has at least every property of `contract.request.batch.PROCESS_PROPERTIES`."""

    bk_process_id: int
    process_template_id: int
    values: Mapping[str, Any]
    bind_info: tuple[PlannedBind, ...] = ()


@dataclass(frozen=True, slots=True)
class ExistingInstance:
    """A stored service instance with all its processes."""

    service_instance_id: int
    name: str
    processes: tuple[ExistingProcess, ...] = ()


@dataclass(frozen=True, slots=True)
class Missing:
    """What to write under an existing instance, and where it differs from what was asked.

    Every planned process is in exactly one of `processes` (to insert, with their bind rows), `kept` (it exists, with
    its id) and `blocked` (another process of the instance has its name, or its function and start regex; it cannot be
    inserted). `bind_rows` are to be inserted under kept processes. `differences` are field paths from the body's root;
    a blocked process is among them.
    """

    processes: tuple[PlannedProcess, ...] = ()
    bind_rows: tuple[tuple[int, int, PlannedBind], ...] = ()
    """Each with its process and its place among the rows that were asked for."""
    kept: tuple[tuple[PlannedProcess, int], ...] = ()
    blocked: tuple[PlannedProcess, ...] = ()
    differences: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether nothing is to be written."""
        return not self.processes and not self.bind_rows


def reconcile(planned: PlannedInstance, existing: ExistingInstance) -> Missing:
    """Compare `planned` with `existing`, which has the same natural key.

    Processes are the same by `process_template_id`, or by `bk_process_name` where there is no template; bind rows by
    `template_row_id`. Nothing here is an error: a past that was created by halves, or otherwise, is completed as far as
    the uniqueness rules of CMDB 4.4 allow.
    """
    by_template = {process.process_template_id: process for process in existing.processes}
    by_name = {process.values["bk_process_name"]: process for process in existing.processes}
    funcs = {func_key(process.values) for process in existing.processes} - {None}
    missing: list[PlannedProcess] = []
    kept: list[tuple[PlannedProcess, int]] = []
    blocked: list[PlannedProcess] = []
    bind_rows: list[tuple[int, int, PlannedBind]] = []
    differences = list(_name_differences(planned, existing))
    for process in planned.processes:
        name, template_id = process.bk_process_name, process.process_template_id
        where = Where(planned.index, process.item, template_id)
        found = by_template.get(template_id) if template_id else by_name.get(name)
        if found is not None:
            kept.append((process, found.bk_process_id))
            rows = {row.template_row_id: row for row in found.bind_info}
            bind_rows += (
                (found.bk_process_id, position, row)
                for position, row in enumerate(process.bind_info)
                if row.template_row_id not in rows
            )
            differences += _value_differences(where, process, found)
            differences += _row_differences(where, process, rows)
        elif name in by_name or func_key(process.values) in funcs:
            blocked.append(process)
            differences.append(where.path("bk_process_name" if name in by_name else "bk_func_name"))
        else:
            missing.append(process)
    return Missing(tuple(missing), tuple(bind_rows), tuple(kept), tuple(blocked), tuple(differences))


def refuse_existing(instances: Iterable[PlannedInstance], hosts: Mapping[int, Host]) -> dict[int, Refused]:
    """Return the refusals, by index, of planned instances that exist already under ``on_existing="fail"`` (CMDB V17).

    The message names the host's inner address, as CMDB's does.
    """
    refused = {}
    for instance in instances:
        host = hosts[instance.bk_host_id]
        address = host.bk_host_innerip or host.bk_host_innerip_v6 or str(host.bk_host_id)
        path = f"instances[{instance.index}].bk_host_id"
        refused[instance.index] = Refused(Code.INSTANCE_EXISTS, address, path=path)
    return refused


def _name_differences(planned: PlannedInstance, existing: ExistingInstance) -> Iterator[str]:
    if planned.is_name_given and planned.name != existing.name:
        yield f"instances[{planned.index}].service_instance_name"


def _value_differences(where: Where, process: PlannedProcess, found: ExistingProcess) -> Iterator[str]:
    if process.values != found.values:
        for name, value in process.values.items():
            if value != found.values[name]:
                yield where.path(name)


def _row_differences(where: Where, process: PlannedProcess, rows: Mapping[int, PlannedBind]) -> Iterator[str]:
    for row in process.bind_info:
        other = rows.get(row.template_row_id)
        if other is None or other == row:
            continue
        for column in ("ip", "port", "protocol", "enable"):
            if getattr(row, column) != getattr(other, column):
                yield where.path(f"bind_info[template_row_id={row.template_row_id}].{column}")
