"""The worker's hold on pending requests: lease one, keep the lease, give it back; and what the reaper reads."""

import time
from collections import Counter
from collections.abc import Awaitable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, cast

import redis.asyncio as aioredis

from contract.answer.report import Report
from contract.answer.status import JobPart
from contract.message import QUEUE_NAME
from contract.redis.records import MAX_DEAD_LETTERS, NOTE_TTL_S, SET_ASIDE, Note
from contract.redis.requests import Requests, moment
from contract.redis.script import CLOCK, COUNT_RUNNING, Script
from contract.settings import Settings
from plumbing.coalesce import Gather
from worker.metrics import LEASE_GROUP, LEASES, RESTARTS

_LEASE: Final = Script(
    "worker/custody/lease.lua",
    keys="first_key…",
    args="lease_ms max_attempts most_bytes first_arg…",
    parts=(CLOCK, COUNT_RUNNING),
)
_EXTEND: Final = Script(
    "worker/custody/extend.lua", keys="workers first_req…", args="worker_name lease_ms first_token…", parts=(CLOCK,)
)
_RESEND: Final = Script(
    "worker/custody/resend.lua",
    keys="req pending queue",
    args="id message token expected_score count_attempt",
    parts=(CLOCK, COUNT_RUNNING),
)
_CALM: Final = Script("worker/custody/calm.lua", keys="pending workers", args="most", parts=(CLOCK,))
_SHORTEN: Final = Script("worker/custody/shorten.lua", keys="req", args="lease_ms too_long_ms", parts=(CLOCK,))
_PUT_BACK: Final = Script("worker/custody/put_back.lua", keys="result req unknown", args="id report ttl_s channel")


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to work on a request. `state` says what was found; the rest is set when there is something to do.

    States: ``leased`` work on it · ``exhausted`` it was started too often · ``cancelled`` its caller ended it, and
    `payload` is its report, empty where all of its job was · ``held`` a live owner works on it · ``done`` its report is
    stored · ``unknown`` no entry · ``suspect`` it was started before and never ended, and nothing has changed: it is to
    be leased `alone`.
    """

    state: str
    request_id: str
    leased_at: datetime
    """Redis' clock as it was read then; for what is stored, not for who may do what."""
    read_at: float
    """`time.monotonic` as it was then."""
    token: str = ""
    attempts: int = 0
    created_at: datetime | None = None
    payload: bytes = b""
    count: int = 0
    """Instances, known before the payload is read."""
    job: JobPart | None = None

    def now(self) -> datetime:
        """Redis' clock by now: it has gone on since."""
        return self.leased_at + timedelta(seconds=time.monotonic() - self.read_at)


@dataclass(frozen=True, slots=True)
class Pending:
    """One entry of the pending set, as a reaper sees it."""

    request_id: str
    pushed_ms: int
    owner: str
    lease_ms: int
    attempts: int
    deadline_ms: int
    summary: str
    traceparent: str = ""


_LEASED_AT_ONCE: Final = 64
_LEASED_BYTES: Final = 4_000_000
"""Of payloads, after which one answer of Redis takes no further one."""
_FAILED_TAKES_TTL_S: Final = 86_400
_CALMED_AT_ONCE: Final = 1_000
_OTHERS_MS: Final = 60_000
"""Another process may be set to longer leases."""
_PAUSE_TTL_S: Final = 3_600
"""It is said again all the while."""
_PENDING_FIELDS: Final = ("owner", "lease", "attempts", "deadline", "summary", "trace")


class Leases(Requests):
    """What Redis has of requests, as a worker sees it. Every method may be repeated."""

    def __init__(self, client: "aioredis.Redis", settings: Settings) -> None:
        super().__init__(client, settings)
        self._lease = client.register_script(_LEASE)
        self._leasing = Gather(self._lease_together, most=_LEASED_AT_ONCE)
        self._extend = client.register_script(_EXTEND)
        self._resend = client.register_script(_RESEND)
        self._calm = client.register_script(_CALM)
        self._shorten = client.register_script(_SHORTEN)
        self._put_back = client.register_script(_PUT_BACK)
        self._set_aside = client.register_script(SET_ASIDE)

    async def lease(self, request_id: str, token: str, *, alone: bool = False) -> Lease:
        """Count an attempt and take the request, unless a live owner has it; the same token may ask again.

        `alone`: no other request runs in this process that was started before and never ended.
        """
        while True:
            lease = await self._leasing((request_id, token, alone))
            if lease.state != "later":
                return lease

    async def _lease_together(self, wanted: Sequence[tuple[str, str, bool]]) -> list[Lease]:
        asked_at = time.monotonic()
        redis_ms, *answers = await self._lease(
            keys=[key for id_, _, _ in wanted for key in (self.keys.request(id_), self.keys.result(id_))],
            args=[
                self.settings.owner_ttl_ms,
                self.settings.max_attempts,
                _LEASED_BYTES,
                *(value for _, token, alone in wanted for value in (token, int(alone))),
            ],
        )
        now = moment(redis_ms), asked_at
        leases = [_leased(id_, token, now, answer) for (id_, token, _), answer in zip(wanted, answers, strict=True)]
        _count(leases)
        return leases

    async def extend(self, worker_name: str, leases: Iterable[Lease]) -> int:
        """Say that this worker process lives and keeps these leases; returns how many are still its own."""
        held = list(leases)
        return cast(
            "int",
            await self._extend(
                keys=[
                    self.keys.workers,
                    *(self.keys.request(lease.request_id) for lease in held),
                ],
                args=[worker_name, self.settings.owner_ttl_ms, *(lease.token for lease in held)],
            ),
        )

    async def note_pause(self, worker_name: str, reason: str) -> None:
        """Say why this worker process takes no requests; an empty reason: it does."""
        async with self.client.pipeline(transaction=False) as pipe:
            if reason:
                pipe.hset(self.keys.paused, worker_name, reason)
                pipe.expire(self.keys.paused, _PAUSE_TTL_S)
            else:
                pipe.hdel(self.keys.paused, worker_name)
            await pipe.execute()

    async def forget(self, worker_name: str) -> None:
        """This worker process ends in order."""
        async with self.client.pipeline(transaction=False) as pipe:
            pipe.zrem(self.keys.workers, worker_name)
            pipe.hdel(self.keys.paused, worker_name)
            await pipe.execute()

    async def hand_back(self, lease: Lease, message: bytes, *, count_attempt: bool) -> bool:
        """Give a leased request back to the queue's end; False when the lease is not ours any more."""
        return await self._push_again(lease.request_id, message, lease.token, 0, count_attempt=count_attempt)

    async def resend(self, pending: Pending, message: bytes) -> bool:
        """Push an ownerless request again; False when another reaper was first or an owner turned up."""
        return await self._push_again(pending.request_id, message, "", pending.pushed_ms, count_attempt=True)

    async def _push_again(
        self, request_id: str, message: bytes, token: str, score: int, *, count_attempt: bool
    ) -> bool:
        pushed = await self._resend(
            keys=[self.keys.request(request_id), self.keys.pending, QUEUE_NAME],
            args=[request_id, message, token, score, int(count_attempt)],
        )
        return bool(pushed)

    async def calm(self) -> int:
        """Bring times that are ahead of Redis' clock back to now, for it was put back; how many requests' that were."""
        return cast("int", await self._calm(keys=[self.keys.pending, self.keys.workers], args=[_CALMED_AT_ONCE]))

    async def shorten(self, request_id: str) -> bool:
        """The same for the end of a request's lease: a live owner extends it. False when it ends as a lease does."""
        ttl_ms = self.settings.owner_ttl_ms
        return bool(await self._shorten(keys=[self.keys.request(request_id)], args=[ttl_ms, self.longest_lease_ms]))

    @property
    def longest_lease_ms(self) -> int:
        """A lease that ends later than this from now was not given by this clock."""
        return 2 * self.settings.owner_ttl_ms + _OTHERS_MS

    async def put_back(self, report: Report) -> None:
        """Give pollers the report that PostgreSQL has of a request, unless Redis knows the request after all."""
        keys, id_ = self.keys, report.request_id
        await self._put_back(
            keys=[keys.result(id_), keys.request(id_), keys.unknown(id_)],
            args=[id_, report.dump(), self.settings.result_ttl_s, keys.done_channel],
        )

    async def note_missing(self, request_id: str, note: Note) -> None:
        """Tell pollers for a while what PostgreSQL answered instead of a report."""
        async with self.client.pipeline(transaction=True) as pipe:
            pipe.set(self.keys.unknown(request_id), note.dump(), ex=NOTE_TTL_S)
            pipe.publish(self.keys.done_channel, request_id)
            await pipe.execute()

    async def count_failed_take(self, request_id: str) -> int:
        """Count that a worker failed on this request's message before it had a lease; returns how often that was."""
        key = self.keys.failed_takes(request_id)
        async with self.client.pipeline(transaction=True) as pipe:
            pipe.incr(key)
            pipe.expire(key, _FAILED_TAKES_TTL_S)
            return int((await pipe.execute())[0])

    async def push(self, message: bytes) -> bool:
        """Push a message that has no entry; an empty one is sent elsewhere."""
        if message:
            await self.client.lpush(QUEUE_NAME, message)
        return True

    async def set_aside(self, request_id: str, letter: bytes) -> None:
        """Put a message that nobody could take among the dead letters; sent again, its count begins anew."""
        await self._set_aside(
            keys=[self.keys.dead_letters, self.keys.failed_takes(request_id)], args=[letter, MAX_DEAD_LETTERS]
        )

    async def pending_before(self, pushed_ms: int, skip: int, limit: int) -> list[Pending]:
        """Entries that were last pushed before `pushed_ms`, the earliest first, after the first `skip` of them."""
        rows: Any = await self.client.zrange(
            self.keys.pending, "-inf", str(pushed_ms), byscore=True, offset=skip, num=limit, withscores=True
        )
        async with self.client.pipeline(transaction=False) as pipe:
            for request_id, _ in rows:
                pipe.hmget(self.keys.request(request_id.decode()), list(_PENDING_FIELDS))
            entries: list[list[bytes | None]] = await pipe.execute()
        return [
            _pending(request_id.decode(), int(score), entry)
            for (request_id, score), entry in zip(rows, entries, strict=True)
        ]

    async def waiting(self, skip: int, count: int) -> list[bytes]:
        """The messages that are taken next, after the first `skip` of them; which is next of all stands first."""
        messages = await cast("Awaitable[list[bytes]]", self.client.lrange(QUEUE_NAME, -skip - count, -skip - 1))
        return messages[::-1]

    async def pushed_ms(self, request_ids: Sequence[str]) -> list[int | None]:
        """The pending scores of `request_ids`."""
        if not request_ids:
            return []
        scores: list[Any] = await self.client.zmscore(self.keys.pending, list(request_ids))
        return [None if score is None else int(score) for score in scores]


def _count(leases: Sequence[Lease]) -> None:
    LEASE_GROUP.observe(len(leases))
    for state, count in Counter(lease.state for lease in leases).items():
        LEASES.labels(state).inc(count)
    RESTARTS.inc(sum(lease.attempts > 1 for lease in leases))


def _leased(request_id: str, token: str, now: tuple[datetime, float], answer: list[Any]) -> Lease:
    state = answer[0].decode()
    if len(answer) == 1:
        return Lease(state, request_id, *now)
    _, attempts, created, payload, count, job = answer
    return Lease(
        state,
        request_id,
        *now,
        token,
        int(attempts),
        moment(created),
        payload,
        int(count or 0),
        JobPart.load(job),
    )


def _pending(request_id: str, pushed_ms: int, entry: list[bytes | None]) -> Pending:
    owner, lease, attempts, deadline, summary, trace = ((value or b"").decode() for value in entry)
    return Pending(
        request_id, pushed_ms, owner, int(lease or 0), int(attempts or 0), int(deadline or 0), summary, trace
    )
