"""Scalar properties of a process: what may be stored, and what must differ within one service instance.

CMDB 3.1 (M/attribute.go:177-240) and 4.4.
"""

from collections.abc import Container, Mapping, Sequence
from typing import Any, Final

from contract.codes import Code, Refused
from contract.request.batch import PROCESS_PROPERTIES, PropertyRule
from worker.expand.plan import PlannedProcess, Where

DEFAULTS: Final[Mapping[str, Any]] = {name: rule.default for name, rule in PROCESS_PROPERTIES.items()}
"""What an unbound process stores in a property that was not sent: "" for text, False for bool, None for int."""

_SHORT: Final = min(rule.max_bytes for rule in PROCESS_PROPERTIES.values() if rule.max_bytes) // 4
"""Characters of a text that fits everywhere: UTF-8 takes at most 4 bytes for each."""
_REQUIRED: Final = frozenset(name for name, rule in PROCESS_PROPERTIES.items() if rule.required)
_SURE: Final = {
    name: (rule.minimum or 0, rule.maximum or 1) for name, rule in PROCESS_PROPERTIES.items() if rule.type != "text"
}
"""Numbers and booleans that need no closer look."""


def first_problem(values: Mapping[str, Any], among: Container[str] = PROCESS_PROPERTIES) -> tuple[str, Code] | None:
    """Return the first of `values`, all of the right JSON type, that cannot be stored, and why; None when all can.

    Only those `among` are looked at. `Code.PARAM_REQUIRED` for an empty or null required text, `Code.VALUE_INVALID`
    outside the range or beyond the limit in bytes of UTF-8. Null is a value of every property that is not required.
    """
    for name, value in values.items():
        if type(value) is str:
            if len(value) <= _SHORT and (value or name not in _REQUIRED):
                continue
        elif name in _SURE and value is not None:
            low, high = _SURE[name]
            if low <= value <= high:
                continue
        if name in among and (code := _problem(PROCESS_PROPERTIES[name], value)) is not None:
            return name, code
    return None


def _problem(rule: PropertyRule, value: str | int | None) -> Code | None:
    if not value and rule.required:
        return Code.PARAM_REQUIRED
    if value is None or rule.type == "bool":
        return None
    if isinstance(value, str):
        return Code.VALUE_INVALID if rule.max_bytes is not None and len(value.encode()) > rule.max_bytes else None
    fits = (rule.minimum is None or value >= rule.minimum) and (rule.maximum is None or value <= rule.maximum)
    return None if fits else Code.VALUE_INVALID


def is_storable(text: str) -> bool:
    """Whether PostgreSQL can hold `text`: no NUL, and nothing that UTF-8 cannot write."""
    return "\x00" not in text and (text.isascii() or not any("\ud800" <= char <= "\udfff" for char in text))


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
