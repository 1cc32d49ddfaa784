"""Scalar properties of a process: what may be stored (CMDB 3.1, M/attribute.go:177-240)."""

from collections.abc import Mapping
from typing import Any, Final

from contract.batch import PROCESS_PROPERTIES, PropertyRule
from contract.codes import Code

DEFAULTS: Final[Mapping[str, Any]] = {name: rule.default for name, rule in PROCESS_PROPERTIES.items()}
"""What an unbound process stores in a property that was not sent: "" for text, False for bool, None for int."""


def problem(name: str, value: str | int | None) -> Code | None:
    """Return why `value`, of the right JSON type, cannot be stored in property `name`; None when it can.

    `Code.PARAM_REQUIRED` for an empty or null required text, `Code.VALUE_INVALID` outside the range or beyond the limit
    in bytes of UTF-8. Null is a value of every property that is not required.
    """
    rule = PROCESS_PROPERTIES[name]
    if not value and rule.required:
        return Code.PARAM_REQUIRED
    if value is None or rule.type == "bool" or _is_within(rule, value):
        return None
    return Code.VALUE_INVALID


def _is_within(rule: PropertyRule, value: str | int) -> bool:
    if isinstance(value, str):
        # UTF-8 takes at most 4 bytes a character: most texts need no encoding to be known as short enough.
        limit = rule.max_bytes
        return limit is None or len(value) * 4 <= limit or len(value.encode()) <= limit
    return (rule.minimum is None or value >= rule.minimum) and (rule.maximum is None or value <= rule.maximum)
