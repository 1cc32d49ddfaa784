"""Ids that are known before their row is written, reserved in blocks from a sequence."""

from collections.abc import Iterable
from typing import Any, Final

from sqlalchemy import Sequence

from worker.postgres.tables import ID_BLOCK, process_ids, service_instance_ids

_RESERVE: Final = "SELECT nextval($1::text::regclass) FROM generate_series(1, $2::int)"

_BLOCKS_AT_ONCE: Final = 4
"""Twenty full requests with two processes for each instance."""
ROOM: Final = 1_000_000_000
"""How far above CMDB's highest id ours begin, for CMDB goes on counting."""
_STEPS_AT_ONCE: Final = 10_000
_RAISED: Final = """
UPDATE catalogue_version SET version = version + 1, changed_at = now(), first_id = $1::bigint
WHERE first_id < $1::bigint
"""


class IdBlock:
    """Ids of one kind that this process may give away.

    Ids ascend within a process. Those that a lost connection or an ended process leaves behind are never used: gaps are
    normal, as they are in CMDB (4.2). None is below `first_id`.
    """

    def __init__(self, sequence: Sequence, first_id: int = 1) -> None:
        self._sequence = sequence.name
        self._first_id = first_id
        self._free: list[int] = []
        self._least = 0
        self._is_dropped = False

    async def take(self, driver: Any, count: int) -> list[int]:
        """Return `count` ids in ascending order; a round trip only when the process has too few."""
        while (missing := count - len(self._free)) > 0:  # others take from it while we wait
            blocks = max(_BLOCKS_AT_ONCE, -(-missing // ID_BLOCK))
            for (first,) in await driver.fetch(_RESERVE, self._sequence, blocks):
                if first < self._first_id:
                    await raise_ids(driver, self._first_id)
                    break
                if self._is_dropped:
                    self._is_dropped, self._least = False, first
                self._free.extend(range(first, first + ID_BLOCK))
        taken = self._free[:count]
        del self._free[:count]
        return taken

    def give_back(self, ids: Iterable[int]) -> None:
        """Take back ids under which certainly nothing was written."""
        if not self._is_dropped:
            self._free = sorted((*(id_ for id_ in ids if id_ >= self._least), *self._free))

    def drop(self) -> None:
        """Use none of what is reserved: the sequence has been raised, or others have rows under such ids."""
        self._free, self._is_dropped = [], True


async def raise_ids(driver: Any, first_id: int) -> None:
    """Let all ids that are reserved from now on be at least `first_id`; they never go down again.

    Workers drop the lower ones that they hold when they next look at the catalogue's version.
    """
    for sequence in (service_instance_ids, process_ids):
        await _raise(driver, sequence.name, first_id)
    await driver.execute(_RAISED, first_id)


async def _raise(driver: Any, sequence: str, first_id: int) -> None:
    """Step by step with `nextval`, which no other session can undo, once `setval` has brought it near."""
    last = int(await driver.fetchval(f"SELECT last_value FROM {sequence}"))  # noqa: S608 - our own name
    missing = -(-(first_id - last) // ID_BLOCK)
    if missing > _STEPS_AT_ONCE:
        # What other sessions reserve at the same time are some blocks, not thousands of them.
        await driver.execute("SELECT setval($1::text::regclass, $2)", sequence, first_id - _STEPS_AT_ONCE * ID_BLOCK)
        missing = _STEPS_AT_ONCE
    if missing > 0:
        await driver.execute(_RESERVE, sequence, missing)
