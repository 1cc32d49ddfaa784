"""What stands in Redis: the names of all our keys, and what is held of a request beside its report.

Also what is said on the ``done`` channel. The sides meet in both, so they are in one place and cannot drift.

A *pending entry* is what a worker leases. A *note* tells pollers that nobody can give a report back; it stands for a
short while, so that asking again costs PostgreSQL nothing. A *letter* tells operators of a request that was given up.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

import orjson

from contract.answer.report import Report
from contract.answer.status import JobPart, Status, Warning_
from contract.codes import Code
from contract.message import Caller, Payload, summary
from contract.redis.script import CLOCK, Script
from contract.request.batch import ServiceInstanceBatch

MAX_DEAD_LETTERS: Final = 10_000
"""How many dead letters are kept; the oldest go first."""
MAX_PARKED: Final = 10_000
"""How many messages wait beside the queue for a newer worker; what comes then is a dead letter."""


@dataclass(frozen=True, slots=True)
class Keys:
    """Key names under one prefix."""

    prefix: str

    def request(self, request_id: str) -> str:
        """Hash: the pending entry of an unfinished request. Its fields are those of `PendingEntry`."""
        return f"{self.prefix}req:{request_id}"

    def result(self, request_id: str) -> str:
        """String: the stored report of a finished request, with a TTL."""
        return f"{self.prefix}result:{request_id}"

    def kept(self, request_id: str) -> str:
        """String with the report's TTL: the payload of a request that failed."""
        return f"{self.prefix}kept:{request_id}"

    def job(self, job_id: str) -> str:
        """Hash: how a job stands. Its fields are listed in `contract.redis.jobs`."""
        return f"{self.prefix}job:{job_id}"

    def job_batches(self, job_id: str) -> str:
        """List: the request ids of a job's batches, in the order of its instances."""
        return f"{self.prefix}jobbatches:{job_id}"

    def job_failed(self, job_id: str) -> str:
        """Sorted set: ids of a job's batches that failed, or that CMDB does not take, scored by their numbers."""
        return f"{self.prefix}jobfailed:{job_id}"

    def jobs_of_app(self, bk_app_code: str) -> str:
        """Sorted set: an application's recent job ids, scored by the time their first upload began (ms)."""
        return f"{self.prefix}jobs:{bk_app_code}"

    def idempotency(self, bk_app_code: str, idempotency_key: str) -> str:
        """String ``request_id|digest`` with a TTL. Hashed: a caller's key never becomes part of a key's name."""
        name = hashlib.sha256(f"{bk_app_code}\0{idempotency_key}".encode()).hexdigest()
        return f"{self.prefix}idem:{name}"

    def nonce(self, bk_app_code: str, nonce: str) -> str:
        """String with a short TTL: this application has used this nonce. Hashed, as an idempotency key is."""
        name = hashlib.sha256(f"{bk_app_code}\0{nonce}".encode()).hexdigest()
        return f"{self.prefix}nonce:{name}"

    def of_app(self, bk_app_code: str) -> str:
        """Sorted set: an application's recent request ids, scored by the time they were accepted (ms)."""
        return f"{self.prefix}app:{bk_app_code}"

    def asked(self, request_id: str) -> str:
        """String with a short TTL: a worker has been asked to look this id up in PostgreSQL."""
        return f"{self.prefix}asked:{request_id}"

    def unknown(self, request_id: str) -> str:
        """String with a short TTL: PostgreSQL was asked and cannot give the report: a `Note`."""
        return f"{self.prefix}unknown:{request_id}"

    def unseen(self, bk_app_code: str, request_id: str) -> str:
        """String with a short TTL: to this application the request is unknown, for it is another's. Hashed."""
        name = hashlib.sha256(f"{bk_app_code}\0{request_id}".encode()).hexdigest()
        return f"{self.prefix}unseen:{name}"

    def failed_takes(self, request_id: str) -> str:
        """Counter with a TTL: how often a worker failed on a message before it had a lease, by the message's doing."""
        return f"{self.prefix}failed_takes:{request_id}"

    def unacked(self, consumer: str) -> str:
        """Hash: the messages that a consumer of the guarded transport has taken and not acknowledged."""
        return f"{self.prefix}unacked:{consumer}"

    def inbox(self, consumer: str) -> str:
        """List: the message Redis moved to a waiting consumer of the guarded transport."""
        return f"{self.prefix}inbox:{consumer}"

    def misfit(self, number: str) -> str:
        """Any type, with a TTL: what stood where a queue's list belongs; a dead letter names it."""
        return f"{self.prefix}misfit:{number}"

    @property
    def consumers(self) -> str:
        """Sorted set: consumers of the guarded transport, by when they count as dead (ms, Redis' clock)."""
        return f"{self.prefix}consumers"

    @property
    def pending(self) -> str:
        """Sorted set: unfinished request ids, scored by the time of their last push (ms, Redis' clock)."""
        return f"{self.prefix}pending"

    @property
    def workers(self) -> str:
        """Sorted set: worker process names by their last sign of life (ms)."""
        return f"{self.prefix}workers"

    @property
    def paused(self) -> str:
        """Hash: worker process names that take no requests, each with the reason. Those that live count."""
        return f"{self.prefix}paused"

    @property
    def dead_letters(self) -> str:
        """List: messages and requests that were set aside, newest first."""
        return f"{self.prefix}dead"

    @property
    def parked(self) -> str:
        """List: messages for a newer version of a task, the oldest last; see ``worker/consumer/transport/park.lua``."""
        return f"{self.prefix}parked"

    @property
    def probe(self) -> str:
        """String with a short TTL: somebody has just tried whether this Redis takes a write."""
        return f"{self.prefix}probe"

    @property
    def finished_count(self) -> str:
        """Counter of finished requests, from which a submitter measures the drain rate."""
        return f"{self.prefix}finished"

    @property
    def done_channel(self) -> str:
        """Pub/sub channel that carries every finished request_id; those that end together are one message."""
        return f"{self.prefix}done"


BEGIN_ENTRY: Final = (CLOCK, "contract/redis/parts/begin_entry.lua")
"""Parts of the scripts that write one."""


@dataclass(frozen=True, slots=True)
class PendingEntry:
    """The pending entry of one request, the hash ``req:{request_id}``, as it is written.

    Without a payload it is none, whatever else it holds: a Redis that lost the writing of an entry may have kept what
    was written to it later.

    ========= ==============================================================================================
    payload   JSON of `contract.message.Payload`
    digest    sha256 of the batch's canonical form
    app       bk_app_code of whoever submitted it; nobody else may read it
    summary   the line Flower shows
    biz module count   for the poller, as decimal text
    created   ms, Redis' clock
    deadline  ms, Redis' clock
    attempts  starts so far
    owner     token of the attempt that holds the lease; empty when none does
    lease     ms, Redis' clock: until when the owner holds it
    begun     a worker has given it back uncounted: PostgreSQL may have committed what nobody has heard of
    cancelled the final report, when the caller cancelled before any start
    job       which part of a job it is, as `contract.answer.status.JobPart` writes it, until its end is counted there
    trace     the traceparent of its message, where that has one: a message that is sent again carries the trace on
    ========= ==============================================================================================
    """

    request_id: str
    bk_app_code: str
    payload: bytes
    """`Payload.write`"""
    digest: str
    bk_biz_id: int
    bk_module_id: int
    count: int
    summary: str
    job: JobPart | None = None
    traceparent: str | None = None

    @classmethod
    def of(
        cls,
        request_id: str,
        batch: ServiceInstanceBatch,
        caller: Caller,
        warnings: tuple[Warning_, ...] = (),
        kind: Literal["create", "validate"] = "create",
        *,
        job: JobPart | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> "PendingEntry":
        """The entry of a batch, whoever writes it: a submitter, or the worker that meets a direct message.

        `headers` are those of its message.
        """
        return cls(
            request_id=request_id,
            bk_app_code=caller.bk_app_code,
            payload=Payload.write(request_id, batch, caller, warnings, kind),
            digest=batch.digest(),
            bk_biz_id=batch.bk_biz_id,
            bk_module_id=batch.bk_module_id,
            count=len(batch.instances),
            summary=summary(batch.bk_biz_id, batch.bk_module_id, len(batch.instances)),
            job=job,
            traceparent=(headers or {}).get("traceparent"),
        )

    def fields(self) -> list[str | bytes | int]:
        """Names and values as they stand in the entry's hash, but for those that the scripts set themselves."""
        of_job = () if self.job is None else ("job", self.job.dump())
        of_trace = () if self.traceparent is None else ("trace", self.traceparent)
        return [
            *("payload", self.payload, "app", self.bk_app_code),
            *("summary", self.summary, "biz", self.bk_biz_id, "module", self.bk_module_id, "count", self.count),
            *of_job,
            *of_trace,
        ]


MOST_SAID: Final = 8_192
"""Bytes of a report that is said at most; of several that end together, on average."""
NOTE_TTL_S: Final = 30
"""How long a note stands."""


def read_done(message: bytes) -> dict[str, bytes | None]:
    """The request ids of a message on the ``done`` channel, each with its report if that was said.

    One line with the ids, separated by blanks; then, if they are short, a line for each with its report, which
    ``Report.load`` reads. Everybody who listens hears everything, so long reports are left to those who wait for them.
    """
    head, *reports = message.split(b"\n")
    ids = head.decode(errors="replace").split()
    return dict(zip(ids, reports, strict=True)) if len(reports) == len(ids) else dict.fromkeys(ids)


@dataclass(frozen=True, slots=True)
class Note:
    """Under `Keys.unknown`, of a request that Redis knows no more and PostgreSQL cannot give back either.

    `bk_app_code` is whose it was and `status` how it ended; both None for one that never was.
    """

    bk_app_code: str | None = None
    status: Status | None = None

    def dump(self) -> str:
        """As stored: empty, or ``expired:<status>:<bk_app_code>``."""
        return "" if self.status is None else f"expired:{self.status.value}:{self.bk_app_code}"

    @classmethod
    def load(cls, stored: bytes | str) -> "Note":
        """What `dump` wrote."""
        if not stored:
            return cls()
        text = stored if isinstance(stored, str) else stored.decode()
        _, status, bk_app_code = text.split(":", 2)
        return cls(bk_app_code, Status(status))


ADD_LETTER: Final = "contract/redis/parts/add_letter.lua"
"""Part of each script that writes a letter."""
SET_ASIDE: Final = Script(
    "contract/redis/set_aside.lua", keys="dead counter", args="letter most_letters", parts=(ADD_LETTER,)
)
PAYLOAD_TTL_S: Final = 30 * 86_400
"""How long the payload of a request that was given up is kept, so that it can be started anew."""


def letter_of(report: Report) -> bytes | None:
    """The letter of a request that ended with `report`, for `Keys.dead_letters`; None for one that was not given up.

    That list also holds messages that never were requests; those letters are written by whoever consumes the queue.

    Its keys: ``id`` (the request_id), ``kind`` = ``"request"``, ``at`` and ``created`` (ms since 1970), ``reason``,
    ``app``, ``biz``, ``module``, ``count`` (of instances), ``attempts``, ``job`` (`JobPart.dump`, or empty).
    """
    if report.code != Code.DEAD_LETTER:
        return None
    return orjson.dumps(
        {
            "id": report.request_id,
            "kind": "request",
            "at": round((report.finished_at or report.created_at).timestamp() * 1000),
            "created": round(report.created_at.timestamp() * 1000),
            "reason": report.message(),
            "app": report.bk_app_code,
            "biz": report.bk_biz_id,
            "module": report.bk_module_id,
            "count": report.statistics.total_count,
            "attempts": report.attempts,
            "job": "" if report.job is None else report.job.dump(),
        }
    )
