"""Processes of a module without a service template: what the caller sent, defaults for the rest (CMDB 2.5)."""

from collections.abc import Mapping, Sequence
from typing import Any

from contract.codes import Code, Reason, Refused
from contract.request.batch import Process, ProcessInfo
from worker.expand.bind_rows import unbound_rows
from worker.expand.plan import PlannedProcess, Warnings, Where
from worker.expand.values import DEFAULTS, check_processes_differ, first_problem


def unbound_processes(index: int, asked: Sequence[Process], warnings: Warnings) -> tuple[PlannedProcess, ...]:
    """Return the caller's processes in order, none of them tied to a template.

    Raises:
        Refused: 1199010 for a missing `process_info`, name or function, 1199011 for a value that cannot be stored,
            1199014 for processes that do not differ; bind rows as in `unbound_rows`.
    """
    processes = []
    for item, process in enumerate(asked):
        where = Where(index, item)
        if process.get("process_template_id"):
            warnings.add_path(f"instances[{index}].processes[{item}].process_template_id", Reason.TEMPLATE_UNUSED)
        info = process.get("process_info")
        if info is None:
            raise Refused.field(Code.PARAM_REQUIRED, where.path())
        values = _filled(where, info)
        rows = unbound_rows(where, info.get("bind_info") or ())
        processes.append(PlannedProcess(0, values, rows, item))
    check_processes_differ(index, processes)
    return tuple(processes)


def _filled(where: Where, info: ProcessInfo) -> Mapping[str, Any]:
    values = {**DEFAULTS, **info}
    values.pop("bind_info", None)
    found = first_problem(values)
    if found is not None:
        name, code = found
        raise Refused.field(code, where.path(name))
    return values
