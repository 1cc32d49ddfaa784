"""Processes of a module with a service template: one per template, then a caller's values (CMDB 3.5, 3.6)."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Final

from contract.codes import Code, Reason, Refused
from contract.request.batch import PROCESS_PROPERTIES, InstanceSpec, ProcessInfo
from worker.expand.bind_rows import TemplateRow, bound_rows
from worker.expand.catalogue import Host, ProcessTemplate
from worker.expand.naming import name_tail, with_address
from worker.expand.plan import PlannedProcess
from worker.expand.uniqueness import check_processes_differ
from worker.expand.values import content, first_problem
from worker.expand.where import Warnings, Where

_NO_INFO: Final = ProcessInfo()


_MOST_PREPARED: Final = 1_000

Merged = dict[Hashable, tuple[Mapping[str, Any], tuple[str, ...]]]
"""What came of merging, by template and content: values, and the locked properties a caller wanted otherwise."""


class Expansion:
    """A process template made ready to be expanded: its values, its locks, its bind rows."""

    def __init__(self, template: ProcessTemplate) -> None:
        columns = template.properties
        self.process_template_id = template.id
        self.values = {name: columns[name].value if name in columns else None for name in PROCESS_PROPERTIES}
        self.bind_info = tuple(TemplateRow.of(row) for row in template.bind_info)
        self.depends_on_host = any(row.depends_on_host for row in self.bind_info)
        self._locked = tuple(name for name in PROCESS_PROPERTIES if name in columns and columns[name].locked)
        self._unlocked = tuple(name for name in PROCESS_PROPERTIES if name not in self._locked)
        self._name_tail = name_tail(self.values["bk_process_name"], [row.port for row in self.bind_info])
        self._unfit = tuple(name for name, value in self.values.items() if first_problem({name: value}) is not None)

    def generate_name(self, host: Host) -> str:
        """Name an instance of which this is the first process, by the template's own values (CMDB 4.3)."""
        return with_address(host, self._name_tail)

    def merge(self, where: Where, info: ProcessInfo, warnings: Warnings, merged: Merged) -> Mapping[str, Any]:
        """Return the scalar properties: the caller's where unlocked and present, null included, else the template's.

        `merged` keeps what was worked out; the calls for one batch share it.
        """
        if not info.model_fields_set and not self._unfit:
            return self.values
        key = self.process_template_id, content(info)
        found = merged.get(key)
        if found is None:
            found = merged[key] = self._override(where, info), self._overruled(info)
        values, overruled = found
        for name in overruled:
            warnings.add(where, name, Reason.LOCKED)
        return values

    def _override(self, where: Where, info: ProcessInfo) -> Mapping[str, Any]:
        given, sent = vars(info), info.model_fields_set
        overrides = {name: given[name] for name in self._unlocked if name in sent}
        found = first_problem(overrides)
        if found is not None:
            name, code = found
            raise Refused.field(code, where.path(name))
        for name in self._unfit:
            if name not in overrides:
                raise Refused.field(Code.CREATE_PROCESS_FAILED, where.in_template().path(name))
        return {**self.values, **overrides}

    def _overruled(self, info: ProcessInfo) -> tuple[str, ...]:
        """The locked properties for which the caller sent another value; an empty text says no more than null."""
        given, sent, values = vars(info), info.model_fields_set, self.values
        differing = [name for name in self._locked if name in sent and given[name] != values[name]]
        return tuple(name for name in differing if given[name] not in ("", None) or values[name] not in ("", None))


class Prepared:
    """The expansions of templates that were met before: one batch after the other brings the same ones."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[Sequence[ProcessTemplate], tuple[Expansion, ...]]] = {}

    def of(self, templates: Sequence[ProcessTemplate]) -> tuple[Expansion, ...]:
        """Return the expansions of `templates`, which are recognised by being the same object."""
        found = self._known.get(id(templates))
        if found is None:
            if len(self._known) >= _MOST_PREPARED:
                self._known.clear()
            # What is kept cannot leave its id to another object.
            found = self._known[id(templates)] = templates, tuple(map(Expansion, templates))
        return found[1]


def bound_processes(
    expansions: Sequence[Expansion], index: int, spec: InstanceSpec, host: Host, *, warnings: Warnings, merged: Merged
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
        values = expansion.merge(where, info or _NO_INFO, warnings, merged)
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
