"""Processes of a module without a service template: what the caller sent, defaults for the rest (CMDB 2.5)."""

from collections.abc import Hashable, Mapping
from typing import Any

from contract.codes import Code, Reason, Refused
from contract.request.batch import InstanceSpec, ProcessInfo
from worker.expand.bind_rows import unbound_rows
from worker.expand.plan import PlannedProcess
from worker.expand.uniqueness import check_processes_differ
from worker.expand.values import DEFAULTS, content, first_problem
from worker.expand.where import Warnings, Where


def unbound_processes(
    index: int, spec: InstanceSpec, warnings: Warnings, filled: dict[Hashable, Mapping[str, Any]]
) -> tuple[PlannedProcess, ...]:
    """Return the caller's processes in order, none of them tied to a template.

    `filled` keeps the values worked out so far by `content`; the calls for one batch share it.

    Raises:
        Refused: 1199010 for a missing `process_info`, name or function, 1199011 for a value that cannot be stored,
            1199014 for processes that do not differ; bind rows as in `unbound_rows`.
    """
    processes = []
    for item, process in enumerate(spec.processes):
        where = Where(index, item)
        if process.process_template_id:
            warnings.add_path(f"instances[{index}].processes[{item}].process_template_id", Reason.TEMPLATE_UNUSED)
        info = process.process_info
        if info is None:
            raise Refused.field(Code.PARAM_REQUIRED, where.path())
        key = content(info)
        values = filled.get(key)
        if values is None:
            values = filled[key] = _filled(where, info)
        rows = unbound_rows(where, info.bind_info) if info.bind_info else ()
        processes.append(PlannedProcess(0, values, rows, item))
    check_processes_differ(index, processes)
    return tuple(processes)


def _filled(where: Where, info: ProcessInfo) -> Mapping[str, Any]:
    given, sent = vars(info), info.model_fields_set
    values = {name: given[name] if name in sent else default for name, default in DEFAULTS.items()}
    found = first_problem(values)
    if found is not None:
        name, code = found
        raise Refused.field(code, where.path(name))
    return values
