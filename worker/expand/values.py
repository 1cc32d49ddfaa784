"""Scalar properties of a process: what may be stored (CMDB 3.1, M/attribute.go:177-240)."""

from collections.abc import Hashable, Mapping
from operator import itemgetter
from typing import Any, Final

from contract.codes import Code
from contract.request.batch import PROCESS_PROPERTIES, ProcessInfo, PropertyRule

DEFAULTS: Final[Mapping[str, Any]] = {name: rule.default for name, rule in PROCESS_PROPERTIES.items()}
"""What an unbound process stores in a property that was not sent: "" for text, False for bool, None for int."""

_REQUIRED: Final = frozenset(name for name, rule in PROCESS_PROPERTIES.items() if rule.required)


_scalars = itemgetter(*PROCESS_PROPERTIES)


def content(info: ProcessInfo) -> Hashable:
    """Return what `info` says about its scalar properties; equal for equal properties of equal presence.

    The processes of a batch are mostly alike on all hosts: what was worked out for one need not be worked out again.
    """
    return frozenset(info.model_fields_set), _scalars(vars(info))


def _surely_fit(rule: PropertyRule) -> tuple[int, int]:
    """The values (of a text: the lengths) that need no closer look; UTF-8 takes at most 4 bytes a character."""
    if rule.type == "text":
        return int(rule.required), (rule.max_bytes or 0) // 4
    if rule.type == "bool":
        return 0, 1
    return rule.minimum or 0, rule.maximum or 0


_SURELY_FIT: Final = {name: _surely_fit(rule) for name, rule in PROCESS_PROPERTIES.items()}


def first_problem(values: Mapping[str, Any]) -> tuple[str, Code] | None:
    """Return the first of `values`, all of the right JSON type, that cannot be stored, and why; None when all can.

    `Code.PARAM_REQUIRED` for an empty or null required text, `Code.VALUE_INVALID` outside the range or beyond the limit
    in bytes of UTF-8. Null is a value of every property that is not required.
    """
    for name, value in values.items():
        if value is None:
            if name in _REQUIRED:
                return name, Code.PARAM_REQUIRED
            continue
        low, high = _SURELY_FIT[name]
        if low <= (len(value) if isinstance(value, str) else value) <= high:
            continue
        code = _problem(PROCESS_PROPERTIES[name], value)
        if code is not None:
            return name, code
    return None


def _problem(rule: PropertyRule, value: str | int) -> Code | None:
    if not isinstance(value, str):
        return Code.VALUE_INVALID
    if rule.required and not value:
        return Code.PARAM_REQUIRED
    return Code.VALUE_INVALID if rule.max_bytes is not None and len(value.encode()) > rule.max_bytes else None
