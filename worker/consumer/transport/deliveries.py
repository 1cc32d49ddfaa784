"""One consumer's messages in Redis: taking, acknowledging, handing back, and bringing back those of the dead.

Nothing here knows kombu or Celery. See `worker.consumer.transport` for what is kept where, and why.
"""

import os
import socket
import time
import uuid
from collections import deque
from collections.abc import Callable, Collection, Sequence
from typing import Any, Final, NamedTuple

from redis import Redis
from redis.commands import core
from redis.utils import str_if_bytes

from contract.redis.keys import MAX_DEAD_LETTERS, MAX_PARKED, Keys
from contract.redis.letters import ADD_LETTER
from contract.redis.script import CLOCK, Script
from worker.consumer.transport.screen import KEPT_OF_DEAD, LARGEST_MESSAGE, dead_letter

_HELD: Final = "consumers unacked inbox"
_RETURN: Final = "worker/consumer/transport/parts/return.lua"
_TURN: Final = Script(
    "worker/consumer/transport/turn.lua",
    keys=f"{_HELD} first_list…",
    args="consumer ttl_ms want number largest kept budget inbox_list arrived first_ack…",
    parts=(CLOCK, _RETURN),
)
_HEARTBEAT: Final = Script(
    "worker/consumer/transport/heartbeat.lua",
    keys="consumers",
    args="consumer ttl_ms rescues unacked_prefix inbox_prefix forget_ms most_ahead_ms",
    parts=(CLOCK, _RETURN),
)
_DRAIN: Final = Script(
    "worker/consumer/transport/drain.lua", keys=_HELD, args="consumer alive_ms", parts=(CLOCK, _RETURN)
)
_LEAVE: Final = Script("worker/consumer/transport/leave.lua", keys=_HELD, args="consumer", parts=(_RETURN,))
_HAND_BACK: Final = Script("worker/consumer/transport/hand_back.lua", keys="unacked", args="first_field…")
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

_BUDGET: Final = 8 * 1024 * 1024
"""Bytes after which one turn takes no further message."""
_MOST_ACKS: Final = 5_000
"""Acknowledgements of one turn."""
_MOST_POSTPONED: Final = 1_000
_HAND_BACK_AFTER_S: Final = 1.0
_DRAIN_MS: Final = 40_000
"""How long a consumer that no longer takes may finish what it has: its event loop, which beats, may be gone by then."""
_RESCUES_FROM: Final = 1 / 3
"""Part of the time to live after which a new consumer rescues; those who live beat every quarter of it."""
_FORGET_AFTER_MS: Final = 600_000
_MISFIT_KEPT_S: Final = 30 * 86_400
_PARKED_DAYS: Final = 7
_SIFTED_AT_ONCE: Final = 1_000
"""Parked messages that one beat looks at: a script stops everybody else."""

_late_acks: deque[tuple[str, str]] = deque(maxlen=100_000)
"""(unacked hash, field) of what finished in this process after its own connection had broken."""


class Taken(NamedTuple):
    """A message that is recorded under this consumer.

    Attributes:
        tag: its delivery tag, the field it is recorded under.
        source: the list it came from.
        raw: its bytes, or the beginning of them where it is larger than allowed.
        size: how many bytes it has.
    """

    tag: str
    source: str
    raw: bytes
    size: int


class Deliveries:
    """What one consumer holds. Not thread-safe, but for `ack`.

    Args:
        client: gives the Redis client to use, whose connections are not shared with a blocking command.
        keys: the names of our keys.
        ttl_ms: a consumer that was not heard of for so long is dead.
    """

    def __init__(self, client: Callable[[], "Redis"], keys: Keys, ttl_ms: int) -> None:
        self.name = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:12]}"
        self.ttl_ms = ttl_ms
        self.consumers = keys.consumers
        self.unacked = keys.unacked(self.name)
        self.inbox = keys.inbox(self.name)
        self.known = False
        """Whether Redis may hold anything under this name."""
        self._number = 0
        self._arrived = ""
        self._inbox_list = ""
        self._client = client
        self._keys = keys
        self._acks: deque[str] = deque()
        self._postponed: deque[tuple[float, str]] = deque()
        self._abandoned = False
        self._skip_parked = 0
        self._rescues_from = time.monotonic() + ttl_ms * _RESCUES_FROM / 1000

    @property
    def has_news(self) -> bool:
        """Whether a turn has something to tell Redis even if it takes nothing."""
        due = self._postponed and self._postponed[0][0] <= time.monotonic()
        return bool(self._acks or self._arrived or _late_acks or due)

    @property
    def has_acks(self) -> bool:
        """Whether something waits to be acknowledged."""
        return bool(self._acks)

    @property
    def room(self) -> int:
        """How many messages may still be taken without credit, only to be postponed."""
        return _MOST_POSTPONED - len(self._postponed)

    def ack(self, tag: str) -> None:
        """Acknowledge a message at the next turn. A crash before it has the message delivered again."""
        if self._abandoned:
            _late_acks.append((self.unacked, tag))
        else:
            self._acks.append(tag)

    def postpone(self, tag: str) -> None:
        """Keep a message recorded for a moment, then put it behind what waits: nobody here can run it now."""
        self._postponed.append((time.monotonic() + _HAND_BACK_AFTER_S, tag))

    def arrived(self, raw: bytes) -> Taken:
        """What BLMOVE has just moved to the inbox. The next turn files it, and must come before the next BLMOVE."""
        self._number += 1
        self._arrived = f"{self._number} {self._inbox_list}"
        return Taken(self._arrived, self._inbox_list, raw, len(raw))

    def turn(self, want: int, sources: Sequence[str] = (), inbox_list: str = "") -> list[Taken]:
        """One round trip: acknowledge what has gathered, and take up to `want` messages.

        Args:
            want: how many to take at most.
            sources: the lists to take from, in this order.
            inbox_list: the list that BLMOVE may read from now on; empty leaves the inbox alone, as a BLMOVE that is
                under way demands.
        """
        self._hand_back_postponed()
        self._send_late_acks()
        acks = [self._acks.popleft() for _ in range(min(len(self._acks), _MOST_ACKS))]
        limits = [LARGEST_MESSAGE, KEPT_OF_DEAD, _BUDGET]
        number, self._number = self._number, self._number + want
        self.known = True
        try:
            reply = self._run(
                _TURN,
                [self.consumers, self.unacked, self.inbox, *sources],
                [self.name, self.ttl_ms, want, number, *limits, inbox_list, self._arrived, *acks],
            )
        except BaseException:
            # Acknowledging twice is harmless; forgetting one is a redelivery.
            self._acks.extendleft(reversed(acks))
            raise
        self._arrived = ""
        self._inbox_list = inbox_list or self._inbox_list
        return [_taken(*reply[i : i + 3]) for i in range(0, len(reply), 3)]

    def heartbeat(self) -> int:
        """Say that this consumer lives, and bring back what dead ones held; returns how many messages that were."""
        rescues = time.monotonic() >= self._rescues_from
        prefixes = [self._keys.unacked(""), self._keys.inbox("")]
        arguments = [self.ttl_ms, int(rescues), *prefixes, _FORGET_AFTER_MS, 2 * _DRAIN_MS]
        return int(self._run(_HEARTBEAT, [self.consumers], [self.name, *arguments]))

    def drain(self) -> int:
        """Take no more and hand back what no turn has taken; what is in hand may still be finished."""
        if self._arrived:
            self.turn(0)
        return int(self._run(_DRAIN, [self.consumers, self.unacked, self.inbox], [self.name, _DRAIN_MS]))

    def leave(self) -> int:
        """Acknowledge what has gathered, hand everything else back, and be forgotten. No BLMOVE may be under way."""
        while self._acks or self._arrived:
            self.turn(0)
        self._abandoned = True
        return int(self._run(_LEAVE, [self.consumers, self.unacked, self.inbox], [self.name]))

    def abandon(self) -> None:
        """The connection is gone: leave what is held to the deadline, and acknowledge through the next connection."""
        self._abandoned = True
        _late_acks.extend((self.unacked, tag) for tag in self._acks)
        self._acks.clear()

    def hand_back(self, tags: Sequence[str]) -> int:
        """Put messages behind what waits in their lists; returns how many were still held."""
        return int(self._run(_HAND_BACK, [self.unacked], tags)) if tags else 0

    def bury(self, taken: Taken, reason: str) -> bool:
        """Move a message to the dead letters, with the reason; returns whether it was still held."""
        if taken.tag == self._arrived:
            self.turn(0)
        letter = dead_letter(
            taken.raw, queue=taken.source, reason=reason, at_ms=time.time_ns() // 1_000_000, size=taken.size
        )
        keys = [self.unacked, self._keys.dead_letters]
        return bool(self._run(_BURY, keys, [taken.tag, letter, MAX_DEAD_LETTERS]))

    def park(self, newer: Sequence[tuple[Taken, str]]) -> list[Taken]:
        """Set messages aside beside the queue, each with the task that no worker here knows yet.

        Returns:
            Those for which there is no room. They are still held.
        """
        if any(taken.tag == self._arrived for taken, _ in newer):
            self.turn(0)
        arguments = [part for taken, task in newer for part in (taken.tag, task)]
        over = set(self._run(_PARK, [self.unacked, self._keys.parked], [MAX_PARKED, *arguments]))
        return [taken for taken, _ in newer if taken.tag.encode() in over]

    def sift(self, tasks: Collection[str]) -> tuple[int, int]:
        """Look at some of what is parked, at each call from where the last one stopped.

        Returns:
            How many were for one of `tasks` and are behind what waits in their lists now, and how many had been there
            for too long and are dead letters.
        """
        arguments = [self._skip_parked, _SIFTED_AT_ONCE, _BUDGET, _PARKED_DAYS * 86_400_000, *tasks]
        moved, self._skip_parked, old = self._run(_SIFT, [self._keys.parked], arguments)
        return moved, sum(map(self._bury_parked, old))

    def _bury_parked(self, parked: bytes) -> bool:
        parts = parked.split(b"\n", 2)
        source, raw = parts[1:] if len(parts) == 3 else (self._keys.parked.encode(), parked)
        reason = f"no worker that knows its task came within {_PARKED_DAYS} days"
        queue, now_ms = source.decode(errors="replace"), time.time_ns() // 1_000_000
        letter = dead_letter(raw, queue=queue, reason=reason, at_ms=now_ms)
        keys = [self._keys.parked, self._keys.dead_letters]
        return bool(self._run(_BURY_PARKED, keys, [parked, letter, MAX_DEAD_LETTERS]))

    def set_misfits_aside(self, lists: Sequence[str]) -> list[str]:
        """Take away those of `lists` and of the parked that are none, for no script runs on them; letters say where.

        Returns:
            The reasons in the letters.
        """
        types = {name: str_if_bytes(self._client().type(name)) for name in (*lists, self._keys.parked)}
        said = []
        for name in (name for name, type_ in types.items() if type_ not in ("list", "none")):
            kept = self._keys.misfit(uuid.uuid4().hex)
            reason = f"the queue's key held a {types[name]} instead of a list; it is kept as {kept} for a while"
            letter = dead_letter(b"", queue=name, reason=reason, at_ms=time.time_ns() // 1_000_000)
            arguments = [letter, MAX_DEAD_LETTERS, _MISFIT_KEPT_S]
            if self._run(_BURY_MISFIT, [name, kept, self._keys.dead_letters], arguments):
                said.append(reason)
        return said

    def _hand_back_postponed(self) -> None:
        now, due = time.monotonic(), []
        while self._postponed and self._postponed[0][0] <= now:
            due.append(self._postponed.popleft())
        try:
            self.hand_back([tag for _, tag in due])
        except BaseException:
            self._postponed.extendleft(reversed(due))
            raise

    def _send_late_acks(self) -> None:
        if not _late_acks:
            return
        late = list(_late_acks)
        with self._client().pipeline(transaction=False) as pipeline:
            for unacked, tag in late:
                pipeline.hdel(unacked, tag)
            pipeline.execute()
        for _ in late:
            _late_acks.popleft()

    def _run(self, script: Script, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        client = self._client()
        return _registered(client, script)(keys, arguments, client)


def _registered(client: "Redis", script: Script) -> core.Script:
    if script not in _scripts:
        _scripts[script] = client.register_script(script)
    return _scripts[script]


_scripts: dict[Script, core.Script] = {}


def _taken(field: bytes, raw: bytes, size: int) -> Taken:
    tag = field.decode()
    return Taken(tag, tag.partition(" ")[2], raw, size)
