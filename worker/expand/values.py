"""Scalar properties of a process: what may be stored (CMDB 3.1, M/attribute.go:177-240)."""

from collections.abc import Container, Mapping
from typing import Any, Final

from contract.codes import Code
from contract.request.batch import PROCESS_PROPERTIES, PropertyRule

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
