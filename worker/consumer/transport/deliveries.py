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

from contract.redis.records import Keys
from contract.redis.script import CLOCK, Script
from worker.consumer.transport.letter import KEPT_OF_DEAD
from worker.consumer.transport.screen import LARGEST_MESSAGE

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

BUDGET: Final = 8 * 1024 * 1024
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
        self.client = client
        self.keys = keys
        self._acks: deque[str] = deque()
        self._postponed: deque[tuple[float, str]] = deque()
        self._abandoned = False
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
        limits = [LARGEST_MESSAGE, KEPT_OF_DEAD, BUDGET]
        number, self._number = self._number, self._number + want
        self.known = True
        try:
            reply = self.run(
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
        prefixes = [self.keys.unacked(""), self.keys.inbox("")]
        arguments = [self.ttl_ms, int(rescues), *prefixes, _FORGET_AFTER_MS, 2 * _DRAIN_MS]
        return int(self.run(_HEARTBEAT, [self.consumers], [self.name, *arguments]))

    def drain(self) -> int:
        """Take no more and hand back what no turn has taken; what is in hand may still be finished."""
        if self._arrived:
            self.turn(0)
        return int(self.run(_DRAIN, [self.consumers, self.unacked, self.inbox], [self.name, _DRAIN_MS]))

    def leave(self) -> int:
        """Acknowledge what has gathered, hand everything else back, and be forgotten. No BLMOVE may be under way."""
        while self._acks or self._arrived:
            self.turn(0)
        self._abandoned = True
        return int(self.run(_LEAVE, [self.consumers, self.unacked, self.inbox], [self.name]))

    def abandon(self) -> None:
        """The connection is gone: leave what is held to the deadline, and acknowledge through the next connection."""
        self._abandoned = True
        _late_acks.extend((self.unacked, tag) for tag in self._acks)
        self._acks.clear()

    def hand_back(self, tags: Sequence[str]) -> int:
        """Put messages behind what waits in their lists; returns how many were still held."""
        return int(self.run(_HAND_BACK, [self.unacked], tags)) if tags else 0

    def file(self, tags: Collection[str]) -> None:
        """Have what BLMOVE has just moved recorded like the rest, if it is among `tags`."""
        if self._arrived in tags:
            self.turn(0)

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
        with self.client().pipeline(transaction=False) as pipeline:
            for unacked, tag in late:
                pipeline.hdel(unacked, tag)
            pipeline.execute()
        for _ in late:
            _late_acks.popleft()

    def run(self, script: Script, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        """Run a script on this consumer's connection."""
        client = self.client()
        return _registered(client, script)(keys, arguments, client)


def _registered(client: "Redis", script: Script) -> core.Script:
    if script not in _scripts:
        _scripts[script] = client.register_script(script)
    return _scripts[script]


_scripts: dict[Script, core.Script] = {}


def _taken(field: bytes, raw: bytes, size: int) -> Taken:
    tag = field.decode()
    return Taken(tag, tag.partition(" ")[2], raw, size)
