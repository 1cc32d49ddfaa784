"""The scalar properties of a process as the database holds them: their order, and their limits."""

from typing import Final

from contract.request.batch import PROCESS_PROPERTIES as PROCESS_RULES

TEXT_LIMITS: Final = {name: rule.max_bytes for name, rule in PROCESS_RULES.items() if rule.max_bytes is not None}
"""Text properties of a process and their limit in bytes (CMDB's process model)."""

INT_RANGES: Final = {
    name: (rule.minimum, rule.maximum)
    for name, rule in PROCESS_RULES.items()
    if rule.minimum is not None and rule.maximum is not None
}
"""Integer properties of a process and their inclusive range (CMDB's process model)."""

BOOL_PROPERTIES: Final = tuple(name for name, rule in PROCESS_RULES.items() if rule.type == "bool")
REQUIRED_PROPERTIES: Final = frozenset(name for name, rule in PROCESS_RULES.items() if rule.required)
PROCESS_PROPERTIES: Final[tuple[str, ...]] = (*TEXT_LIMITS, *BOOL_PROPERTIES, *INT_RANGES)
"""All scalar properties of a process, in column order."""
