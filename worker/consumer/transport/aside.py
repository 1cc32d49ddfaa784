"""What one consumer sets aside in Redis: dead letters, and messages that are parked for newer workers.

Nothing here knows kombu or Celery, as in `worker.consumer.transport.deliveries`.
"""

import uuid
from collections.abc import Collection, Sequence
from typing import Final

from redis.utils import str_if_bytes

from contract.redis.records import ADD_LETTER, MAX_DEAD_LETTERS, MAX_PARKED
from contract.redis.script import CLOCK, Script
from worker.consumer.transport.deliveries import BUDGET, Deliveries, Taken
from worker.consumer.transport.letter import dead_letter

_BURY: Final = Script(
    "worker/consumer/transport/bury.lua", keys="unacked dead", args="field letter most_letters", parts=(ADD_LETTER,)
)
_BURY_MISFIT: Final = Script(
    "worker/consumer/transport/bury_misfit.lua",
    keys="misfit kept dead",
    args="letter most_letters kept_s",
    parts=(ADD_LETTER,),
)
_PARK: Final = Script(
    "worker/consumer/transport/park.lua", keys="unacked parked", args="most first_field…", parts=(CLOCK,)
)
_SIFT: Final = Script(
    "worker/consumer/transport/sift.lua",
    keys="parked",
    args="skip most budget longest_ms first_task…",
    parts=(CLOCK,),
)
_BURY_PARKED: Final = Script(
    "worker/consumer/transport/bury_parked.lua",
    keys="parked dead",
    args="message letter most_letters",
    parts=(ADD_LETTER,),
)

_MISFIT_KEPT_S: Final = 30 * 86_400
_PARKED_DAYS: Final = 7
_SIFTED_AT_ONCE: Final = 1_000
"""Parked messages that one beat looks at: a script stops everybody else."""


class Aside:
    """What `deliveries` shall not deliver."""

    def __init__(self, deliveries: Deliveries) -> None:
        self._deliveries = deliveries
        self._keys = deliveries.keys
        self._skip_parked = 0

    def bury(self, taken: Taken, reason: str) -> bool:
        """Move a message to the dead letters, with the reason; returns whether it was still held."""
        self._deliveries.file([taken.tag])
        letter = dead_letter(taken.raw, queue=taken.source, reason=reason, size=taken.size)
        keys = [self._deliveries.unacked, self._keys.dead_letters]
        return bool(self._deliveries.run(_BURY, keys, [taken.tag, letter, MAX_DEAD_LETTERS]))

    def park(self, newer: Sequence[tuple[Taken, str]]) -> list[Taken]:
        """Set messages aside beside the queue, each with the task that no worker here knows yet.

        Returns:
            Those for which there is no room. They are still held.
        """
        self._deliveries.file([taken.tag for taken, _ in newer])
        arguments = [part for taken, task in newer for part in (taken.tag, task)]
        over = set(self._deliveries.run(_PARK, [self._deliveries.unacked, self._keys.parked], [MAX_PARKED, *arguments]))
        return [taken for taken, _ in newer if taken.tag.encode() in over]

    def sift(self, tasks: Collection[str]) -> tuple[int, int]:
        """Look at some of what is parked, at each call from where the last one stopped.

        Returns:
            How many were for one of `tasks` and are behind what waits in their lists now, and how many had been there
            for too long and are dead letters.
        """
        arguments = [self._skip_parked, _SIFTED_AT_ONCE, BUDGET, _PARKED_DAYS * 86_400_000, *tasks]
        moved, self._skip_parked, old = self._deliveries.run(_SIFT, [self._keys.parked], arguments)
        return moved, sum(map(self._bury_parked, old))

    def _bury_parked(self, parked: bytes) -> bool:
        parts = parked.split(b"\n", 2)
        source, raw = parts[1:] if len(parts) == 3 else (self._keys.parked.encode(), parked)
        reason = f"no worker that knows its task came within {_PARKED_DAYS} days"
        letter = dead_letter(raw, queue=source.decode(errors="replace"), reason=reason)
        keys = [self._keys.parked, self._keys.dead_letters]
        return bool(self._deliveries.run(_BURY_PARKED, keys, [parked, letter, MAX_DEAD_LETTERS]))

    def set_misfits_aside(self, lists: Sequence[str]) -> list[str]:
        """Take away those of `lists` and of the parked that are none, for no script runs on them; letters say where.

        Returns:
            The reasons in the letters.
        """
        types = {name: str_if_bytes(self._deliveries.client().type(name)) for name in (*lists, self._keys.parked)}
        said = []
        for name in (name for name, type_ in types.items() if type_ not in ("list", "none")):
            kept = self._keys.misfit(uuid.uuid4().hex)
            reason = f"the queue's key held a {types[name]} instead of a list; it is kept as {kept} for a while"
            letter = dead_letter(b"", queue=name, reason=reason)
            arguments = [letter, MAX_DEAD_LETTERS, _MISFIT_KEPT_S]
            if self._deliveries.run(_BURY_MISFIT, [name, kept, self._keys.dead_letters], arguments):
                said.append(reason)
        return said
