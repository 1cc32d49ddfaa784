"""``Prefer: wait=N`` (RFC 7240): how long the caller would like to be kept waiting for the end."""

import re
from typing import Final

_WAIT: Final = re.compile(r"""wait\s*=\s*"?([0-9]{1,9})"?""", re.IGNORECASE | re.ASCII)


def preferred_wait(header: str | None, maximum: float) -> int | None:
    """Whole seconds that are granted, at most `maximum`; None when nothing valid is asked for, as RFC 7240 2 wants."""
    for preference in (header or "")[:1024].split(","):
        # Parameters of a preference follow after a semicolon; `wait` has none.
        if match := _WAIT.fullmatch(preference.partition(";")[0].strip()):
            return min(int(match[1]), int(maximum))
    return None
