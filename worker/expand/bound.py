"""Processes of a module with a service template: one per template, then a caller's values (CMDB 3.5, 3.6)."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

from contract.codes import Code, Reason, Refused
from contract.request.batch import PROCESS_PROPERTIES, BindRow, Process, ProcessInfo
from worker.expand.bind_rows import TemplateRow, bound_rows
from worker.expand.catalogue import Host, ProcessTemplate
from worker.expand.naming import name_tail, with_address
from worker.expand.plan import PlannedBind, PlannedProcess, Warnings, Where
from worker.expand.values import check_processes_differ, first_problem

_NO_INFO: Final = ProcessInfo()

Merged = dict[int | None, tuple[Mapping[str, Any], tuple[str, ...]]]
"""What came of merging a process list, item by item: values, and the locked properties a caller wanted otherwise."""


LastRows = dict[int, tuple[Sequence[BindRow], tuple[PlannedBind, ...]]]
"""By template: the bind rows that a caller sent last, and what came of them. Many lists differ in other things only."""


class Expansion:
    """A process template made ready to be expanded: its values, its locks, its bind rows."""

    def __init__(self, template: ProcessTemplate) -> None:
        columns = template.properties
        self.template = template
        self.process_template_id = template.id
        self.values = {name: columns[name].value if name in columns else None for name in PROCESS_PROPERTIES}
        self.bind_info = tuple(TemplateRow.of(row) for row in template.bind_info)
        self.depends_on_host = any(row.depends_on_host for row in self.bind_info)
        self._locked = tuple(name for name in PROCESS_PROPERTIES if name in columns and columns[name].locked)
        self._fixed = {name: self.values[name] for name in self._locked}
        self._unlocked = PROCESS_PROPERTIES.keys() - self._locked
        self._name_tail = name_tail(self.values["bk_process_name"], [row.port for row in self.bind_info])
        self._unfit = tuple(name for name, value in self.values.items() if first_problem({name: value}) is not None)

    def generate_name(self, host: Host) -> str:
        """Name an instance of which this is the first process, by the template's own values (CMDB 4.3)."""
        return with_address(host, self._name_tail)

    def merge(self, where: Where, info: ProcessInfo, warnings: Warnings, merged: Merged) -> Mapping[str, Any]:
        """Return the scalar properties: the caller's where unlocked and present, null included, else the template's.

        `merged` keeps what was worked out; the calls for one process list share it.
        """
        if not info and not self._unfit:
            return self.values
        found = merged.get(where.item)
        if found is None:
            found = merged[where.item] = self._override(where, info), self._overruled(info)
        values, overruled = found
        for name in overruled:
            warnings.add(where, name, Reason.LOCKED)
        return values

    def rows(
        self, where: Where, host: Host, given: Sequence[BindRow], warnings: Warnings, last: LastRows
    ) -> tuple[PlannedBind, ...]:
        """Return the bind rows; raises as `bound_rows`. `last` is shared by the calls for one request."""
        same = last.get(self.process_template_id)
        if same is not None and same[0] == given:
            return same[1]
        found = warnings.found
        planned = bound_rows(where, self.bind_info, host, given, warnings)
        if found == warnings.found and not self.depends_on_host:
            last[self.process_template_id] = given, planned
        return planned

    def _override(self, where: Where, info: ProcessInfo) -> Mapping[str, Any]:
        found = first_problem(info, self._unlocked)
        if found is not None:
            name, code = found
            raise Refused.field(code, where.path(name))
        for name in self._unfit:
            if name not in info or name not in self._unlocked:
                raise Refused.field(Code.CREATE_PROCESS_FAILED, where.in_template().path(name))
        values = {**self.values, **info, **self._fixed}
        values.pop("bind_info", None)
        return values

    def _overruled(self, info: ProcessInfo) -> tuple[str, ...]:
        """The locked properties for which the caller sent another value; an empty text says no more than null."""
        given, values = cast("Mapping[str, Any]", info), self.values
        differing = [name for name in self._locked if name in given and given[name] != values[name]]
        if not differing:
            return ()
        return tuple([name for name in differing if given[name] not in ("", None) or values[name] not in ("", None)])


def bound_processes(
    expansions: Sequence[Expansion],
    index: int,
    asked: Sequence[Process],
    host: Host,
    *,
    warnings: Warnings,
    merged: Merged,
    last_rows: LastRows,
) -> tuple[PlannedProcess, ...]:
    """Return one process per template, in the order of `expansions`, with the caller's unlocked values.

    The last item with a template's id counts, whole; items with any other id are ignored (CMDB A5, A6).

    Raises:
        Refused: 1199010, 1199011, 1199006 or 1199014 for what the caller sent (CMDB V22), 1108008 or 1199006 for what
            the template holds (CMDB V19, V20).
    """
    items = _items_by_template(expansions, index, asked, warnings)
    processes = []
    for expansion in expansions:
        item = items.get(expansion.process_template_id)
        where = Where(index, item, expansion.process_template_id)
        info = _NO_INFO if item is None else asked[item].get("process_info", _NO_INFO)
        values = expansion.merge(where, info, warnings, merged)
        rows = expansion.rows(where, host, info.get("bind_info") or (), warnings, last_rows)
        processes.append(PlannedProcess(expansion.process_template_id, values, rows, item))
    check_processes_differ(index, processes)
    return tuple(processes)


def _items_by_template(
    expansions: Sequence[Expansion], index: int, asked: Sequence[Process], warnings: Warnings
) -> dict[int, int]:
    known = {expansion.process_template_id for expansion in expansions}
    items: dict[int, int] = {}
    for item, process in enumerate(asked):
        template_id = process.get("process_template_id", 0)
        if template_id not in known:
            warnings.add_path(f"instances[{index}].processes[{item}].process_template_id", Reason.TEMPLATE_UNMATCHED)
            continue
        if template_id in items:
            warnings.add_path(f"instances[{index}].processes[{items[template_id]}]", Reason.TEMPLATE_REPEATED)
        items[template_id] = item
    return items
