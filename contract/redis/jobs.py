"""The Redis side of jobs: begin one, add its batches, read it, cancel it, put back what Redis has forgotten.

A job is written before its first batch, and each batch counts itself there in the very script that accepts it or stores
its report. So a job tells the truth whoever dies, and an upload that is sent again goes on where it stopped.

Fields of a job (the hash ``job:{job_id}``):

========= ==================================================================================================
app       bk_app_code of whoever submitted it; nobody else may read it
biz module as its head says, as decimal text
begun     ms, Redis' clock
upload    token of the upload that may add batches: the latest under the job's key. A job that was put back has none
until     ms, Redis' clock: until when that upload counts as alive
chain     digest over the batches accepted so far, from which an upload that is repeated knows its place
batches   accepted so far; their ids stand in the list ``jobbatches:{job_id}``
accepted  instances of those
size      the number of batches, once the upload is complete
started   a worker has begun one
running   instances of the batches that a worker has now
cancelled no further batch is accepted, and none that was not begun is begun
ended     batches that have ended, and by outcome their instances: created existing healed failed skipped
problem   JSON of the first failure
finished  ms, Redis' clock: when the latest batch ended
========= ==================================================================================================
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import redis.asyncio as aioredis

from contract.answer.job import EndedBatch, Job
from contract.answer.report import Report
from contract.answer.status import Outcome, Problem, Status
from contract.message import QUEUE_NAME, Caller, new_request_id
from contract.redis.records import BEGIN_ENTRY, PendingEntry
from contract.redis.requests import QueueFull, Requests, moment
from contract.redis.script import CLOCK, FOLLOWING, Script
from contract.request.idempotency import key_of_job
from contract.settings import Settings

_BEGIN: Final = Script(
    "contract/redis/begin_job.lua",
    keys="job jobs_of_app idempotency",
    args="job_id upload app biz module until_ms ttl_ms idempotency_ttl_s index_ttl_ms has_key prefix",
    parts=(CLOCK,),
)
_ADD: Final = Script(
    "contract/redis/add_batch.lua",
    keys="req pending queue job batches",
    args="id message max_pending deadline_ms upload until_ms ttl_ms before after is_last first_field…",
    parts=BEGIN_ENTRY,
)
_HOLD: Final = Script("contract/redis/hold_job.lua", keys="job", args="upload until_ms", parts=(CLOCK,))
_CANCEL: Final = Script("contract/redis/cancel_job.lua", keys="job")
_MARK: Final = Script("contract/redis/mark_batch.lua", keys="job failed result", args="id number")
_RECENT: Final = Script("contract/redis/recent_jobs.lua", keys="jobs_of_app", args="after most", parts=(FOLLOWING,))
_RESTORE: Final = Script(
    "contract/redis/restore_job.lua",
    keys="job batches failed unknown",
    args="job_id channel ttl_s fields first_field…",
)


class NotThisUploads(Exception):
    """Another upload under the same key carries the job on, or it was cancelled."""


@dataclass(slots=True)
class Upload:
    """One upload of a job. `chain` and `batches` say where the job stood when it began."""

    job: Job
    token: str
    chain: str

    @property
    def job_id(self) -> str:
        """The job's id."""
        return self.job.job_id


def link(chain: str, digest: str) -> str:
    """The chain with one more batch."""
    return hashlib.sha256(f"{chain}{digest}".encode()).hexdigest()


class JobStore:
    """All reads and writes of jobs. Every method is one round trip, but for those that say otherwise."""

    def __init__(self, requests: Requests) -> None:
        self._client: aioredis.Redis = requests.client
        self._keys = requests.keys
        self._settings: Settings = requests.settings
        self._begin = self._client.register_script(_BEGIN)
        self._add = self._client.register_script(_ADD)
        self._hold = self._client.register_script(_HOLD)
        self._cancel = self._client.register_script(_CANCEL)
        self._mark = self._client.register_script(_MARK)
        self._recent = self._client.register_script(_RECENT)
        self._restore = self._client.register_script(_RESTORE)

    @property
    def _ttl_ms(self) -> int:
        """As long as a report, and as its last batch may take to have one."""
        return int((self._settings.result_ttl_s + self._settings.request_deadline_s) * 1000)

    async def begin(self, caller: Caller, bk_biz_id: int, bk_module_id: int, idempotency_key: str | None) -> Upload:
        """A new job, or the one under this key, for this upload to carry on."""
        job_id, token, app = new_request_id(), new_request_id(), caller.bk_app_code
        id_, now_ms, stored = await self._begin(
            keys=[
                self._keys.job(job_id),
                self._keys.jobs_of_app(app),
                self._keys.idempotency(app, key_of_job(idempotency_key or job_id)),
            ],
            args=[
                *(job_id, token, app, bk_biz_id, bk_module_id, self._settings.owner_ttl_ms, self._ttl_ms),
                *(self._settings.idempotency_ttl_s, self._settings.result_ttl_s * 1000),
                *(int(idempotency_key is not None), self._keys.prefix),
            ],
        )
        fields = _fields(stored)
        return Upload(_job(id_.decode(), fields, now_ms), token, fields["chain"])

    async def add(self, upload: Upload, entry: PendingEntry, message: bytes, after: str) -> int:
        """Accept one batch, the next of its job; returns how many batches of the job have not ended.

        Args:
            upload: who adds it.
            entry: the batch; its `job` says which one it is.
            message: to push; an empty one is sent elsewhere.
            after: the job's chain with this batch.

        Raises:
            NotThisUploads: it is not this upload's to add.
            QueueFull: `max_pending` requests are unfinished.
        """
        assert entry.job is not None  # noqa: S101 - a batch of a job knows it
        accepted, *told = await self._add(
            keys=[
                self._keys.request(entry.request_id),
                self._keys.pending,
                QUEUE_NAME,
                self._keys.job(upload.job_id),
                self._keys.job_batches(upload.job_id),
            ],
            args=[
                *(entry.request_id, message, self._settings.max_pending),
                *(int(self._settings.request_deadline_s * 1000), upload.token),
                *(self._settings.owner_ttl_ms, self._ttl_ms, upload.chain, after, int(entry.job.is_last)),
                *entry.fields(),
            ],
        )
        if accepted == -1:
            raise QueueFull(told[0])
        if accepted == 0:
            raise NotThisUploads
        upload.chain = after
        return int(told[0])

    async def hold(self, upload: Upload, *, is_over: bool = False) -> int:
        """Say that an upload lives, or is over; returns how many batches of the job have not ended.

        Raises:
            NotThisUploads: it was cancelled, or another one carries it on.
        """
        until_ms = 0 if is_over else self._settings.owner_ttl_ms
        unended = await self._hold(keys=[self._keys.job(upload.job_id)], args=[upload.token, until_ms])
        if unended < 0:
            raise NotThisUploads
        return int(unended)

    async def load(self, job_id: str) -> Job | None:
        """How a job stands; None when Redis does not know it."""
        return (await self.load_many([job_id]))[0]

    async def load_many(self, job_ids: Sequence[str]) -> list[Job | None]:
        """`load` of each."""
        async with self._client.pipeline(transaction=False) as pipe:
            pipe.time()
            for job_id in job_ids:
                pipe.hgetall(self._keys.job(job_id))
            (seconds, micros), *stored = await pipe.execute()
        now_ms = int(seconds) * 1000 + int(micros) // 1000
        # Without an app it is what was written to a job that Redis had forgotten.
        return [
            _job(job_id, fields, now_ms) if "app" in (fields := _fields(one)) else None
            for job_id, one in zip(job_ids, stored, strict=True)
        ]

    async def recent_ids(self, bk_app_code: str, after: str | None, limit: int) -> list[str]:
        """An application's job ids, newest first, `limit` of those that follow on `after`, or of all."""
        ids = await self._recent(keys=[self._keys.jobs_of_app(bk_app_code)], args=[after or "", limit])
        return [job_id.decode() for job_id in ids]

    async def batch_ids(self, job_id: str, start: int, limit: int) -> list[str]:
        """The request ids of a job's batches in order, `limit` of them after the first `start`."""
        ids = await cast("Any", self._client.lrange(self._keys.job_batches(job_id), start, start + limit - 1))
        return [request_id.decode() for request_id in ids]

    async def failed_ids(self, job_id: str, number: int = 0, limit: int = -1) -> list[tuple[int, str]]:
        """Number and request id of the batches that are left to be tried again, from that number on; `limit` or all.

        They ended without success, or CMDB does not take what they have created.
        """
        rows: Any = await self._client.zrangebyscore(
            self._keys.job_failed(job_id), number, "+inf", start=0, num=limit, withscores=True
        )
        return [(int(score), request_id.decode()) for request_id, score in rows]

    async def mark(self, report: Report) -> None:
        """Remember of a batch of a job whether CMDB has taken its rows, as its report says that stands by now."""
        if report.job is None or report.status is not Status.SUCCESS:
            return
        keys, job_id = self._keys, report.job.job_id
        await self._mark(
            keys=[keys.job(job_id), keys.job_failed(job_id), keys.result(report.request_id)],
            args=[report.request_id, report.job.number],
        )

    async def cancel(self, job_id: str) -> int:
        """Let nothing of it begin that has not: 1 · 0 everything has ended · -1 unknown."""
        return cast("int", await self._cancel(keys=[self._keys.job(job_id)]))

    async def restore(self, job: Job, batches: Sequence[EndedBatch], *, ttl_s: int) -> None:
        """Put back a job that Redis has forgotten, and wake who waits for it. One that it knows stays as it is."""
        keys, id_ = self._keys, job.job_id
        fields = _stored(job)
        await self._restore(
            keys=[keys.job(id_), keys.job_batches(id_), keys.job_failed(id_), keys.unknown(id_)],
            args=[
                *(id_, keys.done_channel, ttl_s, len(fields) // 2, *fields),
                *(part for batch in batches for part in (batch.request_id, batch.number, int(batch.is_left))),
            ],
        )


def _fields(stored: Any) -> dict[str, str]:
    pairs = stored.items() if isinstance(stored, dict) else zip(stored[::2], stored[1::2], strict=True)
    return {name.decode(): value.decode() for name, value in pairs}


def _job(job_id: str, fields: dict[str, str], now_ms: int) -> Job:
    size, problem, finished = (fields.get(name) for name in ("size", "problem", "finished"))
    is_cancelled = "cancelled" in fields
    return Job(
        job_id=job_id,
        bk_app_code=fields["app"],
        bk_biz_id=int(fields["biz"]),
        bk_module_id=int(fields["module"]),
        created_at=moment(fields["begun"]),
        batches=int(fields["batches"]),
        accepted=int(fields["accepted"]),
        ended=int(fields["ended"]),
        size=None if size is None else int(size),
        is_received=size is None and not is_cancelled and int(fields.get("until", 0)) > now_ms,
        is_started="started" in fields,
        running=int(fields.get("running", 0)),
        is_cancelled=is_cancelled,
        outcomes={outcome: int(fields.get(outcome.value, 0)) for outcome in Outcome},
        problem=None if problem is None else Problem.model_validate_json(problem),
        finished_at=None if finished is None else moment(finished),
    )


def _stored(job: Job) -> list[Any]:
    fields: dict[str, str | int] = {
        "app": job.bk_app_code,
        "biz": job.bk_biz_id,
        "module": job.bk_module_id,
        "begun": round(job.created_at.timestamp() * 1000),
        "batches": job.batches,
        "accepted": job.accepted,
        "ended": job.ended,
        "chain": "",
        "started": 1,
        **{outcome.value: count for outcome, count in job.outcomes.items()},
    }
    if job.size is not None:
        fields["size"] = job.size
    if job.problem is not None:
        fields["problem"] = job.problem.model_dump_json()
    if job.finished_at is not None:
        fields["finished"] = round(job.finished_at.timestamp() * 1000)
    return [part for pair in fields.items() for part in pair]
