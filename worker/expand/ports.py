"""Port texts: one number or range in an instance, a comma list in a template (CMDB M/process.go:2055-2106)."""

import re
from functools import lru_cache
from itertools import pairwise
from typing import Final

# ASCII digits only: `\d` would also take Arabic or full-width ones.
_ITEM: Final = re.compile(r"([1-9][0-9]{0,4})(?:-([1-9][0-9]{0,4}))?")
_LONGEST_ITEM: Final = len("65535-65535")
_LONGEST_LIST: Final = 256


@lru_cache(maxsize=4096)
def port_range(text: str) -> tuple[int, int] | None:
    """Return the first and last port of one number or one range, or None when `text` is neither.

    Ports are 1..65535 in decimal, without sign, leading zero or blanks, and a range does not run backwards.
    """
    if len(text) > _LONGEST_ITEM:
        return None
    match = _ITEM.fullmatch(text)
    if match is None:
        return None
    first = int(match[1])
    last = int(match[2] or first)
    return (first, last) if first <= last <= 65535 else None


def is_template_port(text: str) -> bool:
    """Whether CMDB accepts `text` in a process template: ports and ranges joined by commas, none overlapping."""
    if len(text) > _LONGEST_LIST:
        return False
    ranges = []
    for item in text.split(","):
        found = port_range(item)
        if found is None:
            return False
        ranges.append(found)
    ranges.sort()
    return all(left[1] < right[0] for left, right in pairwise(ranges))
