"""Where in a request something was found, and the warnings that say so."""

from typing import Final, NamedTuple

from contract.codes import Reason

MAX_WARNINGS: Final = 100
"""Of one plan; a caller who ignores a hundred reads no more of them."""


class Where(NamedTuple):
    """One process of one instance: the index of its item in the request, or its template when the request has none."""

    instance: int
    item: int | None
    process_template_id: int = 0

    def path(self, field: str = "") -> str:
        """Return the path of a field of ``process_info``, or of ``process_info`` itself, from the body's root."""
        process = f"process_template_id={self.process_template_id}" if self.item is None else self.item
        return f"instances[{self.instance}].processes[{process}].process_info{field and '.'}{field}"

    def in_template(self) -> "Where":
        """Return the same process as its template's: to blame for what no caller sent."""
        return self._replace(item=None)


# Not `Reason.LOCKED`: another value for a locked property is never an error (CMDB A23).
_IGNORED: Final = frozenset(
    {Reason.TEMPLATE_UNMATCHED, Reason.TEMPLATE_REPEATED, Reason.TEMPLATE_UNUSED, Reason.ROW_UNMATCHED}
)


class Warnings:
    """The first (path, reason) pairs in the order they were found; what comes after them is not kept.

    With `strict`, the paths of what would only be ignored go to `ignored` instead, all of them.
    """

    def __init__(self, *, strict: bool = False) -> None:
        self.ignored: list[str] = []
        self.found = 0
        """How many there were, kept or not."""
        self._strict = strict
        self._kept: list[tuple[str, Reason]] = []
        self._is_full = False

    def add(self, where: Where, field: str, reason: Reason) -> None:
        """Warn about a field of ``process_info``."""
        if self._strict or self._has_room():
            self.add_path(where.path(field), reason)
        else:
            self.found += 1

    def add_path(self, path: str, reason: Reason) -> None:
        """Warn about any other field."""
        self.found += 1
        if self._strict and reason in _IGNORED:
            self.ignored.append(path)
        elif self._has_room():
            self._kept.append((path, reason))

    def _has_room(self) -> bool:
        if len(self._kept) < MAX_WARNINGS:
            return True
        self._is_full = True
        return False

    def pairs(self) -> tuple[tuple[str, Reason], ...]:
        """Return at most `MAX_WARNINGS` pairs, then `Reason.MORE` at the path "" when there were others."""
        return (*self._kept, ("", Reason.MORE)) if self._is_full else tuple(self._kept)
