"""What must differ between the processes of one service instance (CMDB 4.4)."""

from collections.abc import Mapping, Sequence
from typing import Any

from contract.codes import Code, Refused
from worker.expand.plan import PlannedProcess
from worker.expand.where import Where


def func_key(values: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return what must be unique beside the name; None when the start regex is null, which never collides."""
    regex = values.get("bk_start_param_regex")
    return None if regex is None else (values["bk_func_name"], regex)


def check_processes_differ(index: int, processes: Sequence[PlannedProcess]) -> None:
    """Check that names differ, and that function and start regex together do.

    Raises:
        Refused: 1199014 naming both fields, or 1108008 when neither process has anything from the caller (CMDB V20).
    """
    if len(processes) < 2:
        return
    names: dict[Any, PlannedProcess] = {}
    funcs: dict[Any, PlannedProcess] = {}
    for process in processes:
        first = names.setdefault(process.values["bk_process_name"], process)
        if first is not process:
            raise _refusal(index, first, process, "bk_process_name")
        key = func_key(process.values)
        if key is not None:
            first = funcs.setdefault(key, process)
            if first is not process:
                raise _refusal(index, first, process, "bk_func_name")


def _refusal(index: int, first: PlannedProcess, second: PlannedProcess, field: str) -> Refused:
    paths = [Where(index, process.item, process.process_template_id).path(field) for process in (first, second)]
    if first.item is None and second.item is None:
        return Refused.field(Code.CREATE_PROCESS_FAILED, paths[1])
    return Refused(Code.DUPLICATE, ", ".join(paths), path=paths[1])
