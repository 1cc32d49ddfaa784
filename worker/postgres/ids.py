"""Ids that are known before their row is written, reserved in blocks from a sequence."""

from collections.abc import Iterable
from typing import Any, Final

from sqlalchemy import Sequence

from worker.postgres.tables import ID_BLOCK

_RESERVE: Final = "SELECT nextval($1::text::regclass) FROM generate_series(1, $2::int)"

_BLOCKS_AT_ONCE: Final = 4
"""Twenty full requests with two processes for each instance."""


class IdBlock:
    """Ids of one kind that this process may give away.

    Ids ascend within a process. Those that a lost connection or an ended process leaves behind are never used: gaps are
    normal, as they are in CMDB (4.2).
    """

    def __init__(self, sequence: Sequence) -> None:
        self._sequence = sequence.name
        self._free: list[int] = []

    async def take(self, driver: Any, count: int) -> list[int]:
        """Return `count` ids in ascending order; a round trip only when the process has too few."""
        while (missing := count - len(self._free)) > 0:  # others take from it while we wait
            blocks = max(_BLOCKS_AT_ONCE, -(-missing // ID_BLOCK))
            for (first,) in await driver.fetch(_RESERVE, self._sequence, blocks):
                self._free.extend(range(first, first + ID_BLOCK))
        taken = self._free[:count]
        del self._free[:count]
        return taken

    def give_back(self, ids: Iterable[int]) -> None:
        """Take back ids under which certainly nothing was written."""
        self._free = sorted((*ids, *self._free))
