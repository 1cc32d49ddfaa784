"""Processes of a module with a service template: one per template, then a caller's values (CMDB 3.5, 3.6)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

from contract.batch import PROCESS_PROPERTIES, InstanceSpec, ProcessInfo
from contract.codes import Code, Reason, Refused
from worker.expand.bind_rows import bound_rows
from worker.expand.catalogue import BindTemplate, Host, ProcessTemplate
from worker.expand.naming import generate_name
from worker.expand.plan import PlannedProcess
from worker.expand.uniqueness import check_processes_differ
from worker.expand.values import problem
from worker.expand.where import Warnings, Where

_NO_INFO: Final = ProcessInfo()


@dataclass(frozen=True, slots=True)
class Expansion:
    """A process template made ready: its values by property, which are locked, and which no instance can store."""

    process_template_id: int
    values: Mapping[str, Any]
    locked: frozenset[str]
    unfit: tuple[str, ...]
    bind_info: tuple[BindTemplate, ...]

    @classmethod
    def of(cls, template: ProcessTemplate) -> Self:
        """Prepare `template`; a property it does not have is null and unlocked."""
        columns = template.properties
        values = {name: columns[name].value if name in columns else None for name in PROCESS_PROPERTIES}
        return cls(
            template.id,
            values,
            frozenset(name for name, column in columns.items() if column.locked),
            tuple(name for name, value in values.items() if problem(name, value) is not None),
            template.bind_info,
        )

    def generate_name(self, host: Host) -> str:
        """Name an instance of which this is the first process, by the template's own values (CMDB 4.3)."""
        ports = (row.port.value for row in self.bind_info)
        return generate_name(host, self.values["bk_process_name"], ports)


def bound_processes(
    expansions: Sequence[Expansion], index: int, spec: InstanceSpec, host: Host, warnings: Warnings
) -> tuple[PlannedProcess, ...]:
    """Return one process per template, in the order of `expansions`, with the caller's unlocked values.

    The last item with a template's id counts, whole; items with any other id are ignored (CMDB A5, A6).

    Raises:
        Refused: 1199010, 1199011, 1199006 or 1199014 for what the caller sent (CMDB V22), 1108008 or 1199006 for what
            the template holds (CMDB V19, V20).
    """
    items = _items_by_template(expansions, index, spec, warnings)
    processes = []
    for expansion in expansions:
        item = items.get(expansion.process_template_id)
        where = Where(index, item, expansion.process_template_id)
        info = None if item is None else spec.processes[item].process_info
        values = _merged(where, expansion, info or _NO_INFO, warnings)
        rows = bound_rows(where, expansion.bind_info, host, (info and info.bind_info) or (), warnings)
        processes.append(PlannedProcess(expansion.process_template_id, values, rows, item))
    check_processes_differ(index, processes)
    return tuple(processes)


def _items_by_template(
    expansions: Sequence[Expansion], index: int, spec: InstanceSpec, warnings: Warnings
) -> dict[int, int]:
    known = {expansion.process_template_id for expansion in expansions}
    items: dict[int, int] = {}
    for item, process in enumerate(spec.processes):
        template_id = process.process_template_id
        if template_id not in known:
            warnings.add_path(f"instances[{index}].processes[{item}].process_template_id", Reason.TEMPLATE_UNMATCHED)
            continue
        if template_id in items:
            warnings.add_path(f"instances[{index}].processes[{items[template_id]}]", Reason.TEMPLATE_REPEATED)
        items[template_id] = item
    return items


def _merged(where: Where, expansion: Expansion, info: ProcessInfo, warnings: Warnings) -> Mapping[str, Any]:
    sent = info.model_fields_set
    overrides = {}
    for name, value in expansion.values.items():
        if name not in sent:
            continue
        wanted = getattr(info, name)
        if wanted == value:
            continue
        if name in expansion.locked:
            if wanted or value not in ("", None) or wanted not in ("", None):
                warnings.add(where, name, Reason.LOCKED)
            continue
        code = problem(name, wanted)
        if code is not None:
            raise Refused.field(code, where.path(name))
        overrides[name] = wanted
    for name in expansion.unfit:
        if name not in overrides:
            raise Refused.field(Code.CREATE_PROCESS_FAILED, where.in_template().path(name))
    return {**expansion.values, **overrides} if overrides else expansion.values
