"""The Redis side of the contract: submit a request, save its report, load it, cancel it.

*Redis holds what is pending; PostgreSQL holds what is done.* An accepted request has a pending entry (``req:{id}`` and
the ``pending`` set) until the very script that stores its report, so at every moment somebody answers for it. All times
are Redis' clock; the machines' clocks never meet.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, cast

import redis.asyncio as aioredis
import structlog
from redis.commands.core import AsyncScript
from redis.exceptions import NoScriptError

from contract.answer.job import counts_of, problem_of
from contract.answer.report import Report
from contract.answer.status import DeliveryStatus, JobPart, Status
from contract.codes import Code, Refused
from contract.message import QUEUE_NAME, Payload
from contract.redis.records import (
    ADD_LETTER,
    BEGIN_ENTRY,
    MAX_DEAD_LETTERS,
    MOST_SAID,
    PAYLOAD_TTL_S,
    Keys,
    PendingEntry,
    letter_of,
)
from contract.redis.script import CLOCK, COUNT_RUNNING, Script
from contract.settings import Settings
from plumbing.coalesce import Gather
from plumbing.logs import frames_of

_FORGOTTEN: Final = -1
_log: Final = structlog.get_logger(__name__)
_COUNT_END: Final = "contract/redis/parts/count_end.lua"
"""Part of each script that ends a request, which may be a batch of a job."""
_SUBMIT: Final = Script(
    "contract/redis/submit.lua",
    keys="req result pending queue of_app idempotency",
    args="id message max_pending idempotency_ttl_s digest deadline_ms index_ttl_ms has_key first_field…",
    parts=BEGIN_ENTRY,
)
_LOAD: Final = Script("contract/redis/load.lua", keys="first_key…", args="first_field…", parts=(CLOCK,))
_PUBLISH: Final = Script(
    "contract/redis/publish.lua",
    keys="pending finished dead first_key…",
    args="ttl_s channel most_letters most_said first_arg…",
    parts=(CLOCK, _COUNT_END, COUNT_RUNNING, ADD_LETTER),
)
_CANCEL: Final = Script(
    "contract/redis/cancel.lua",
    keys="req result",
    args="id report ttl_s channel app counts problem",
    parts=(CLOCK, _COUNT_END),
)


class QueueFull(Refused):
    """Too many accepted and unfinished requests. `pending` is how many."""

    def __init__(self, pending: int) -> None:
        super().__init__(Code.QUEUE_FULL)
        self.pending = pending


class IdempotencyConflict(Refused):
    """The idempotency key belongs to a request with another body."""

    def __init__(self) -> None:
        super().__init__(Code.IDEMPOTENCY_CONFLICT)


def moment(ms: float | str | bytes) -> datetime:
    """Milliseconds of Redis' clock as an aware datetime."""
    return datetime.fromtimestamp(float(ms) / 1000, tz=UTC)


class Submitted(NamedTuple):
    """The request that holds. `replayed`: an earlier one, under the same idempotency key and body.

    `created_at` is None where it was accepted before, and its report says when.
    """

    request_id: str
    replayed: bool = False
    created_at: datetime | None = None


_Call = tuple[list[str], list[Any]]
"""Keys and arguments of a script."""
_SENT_BYTES: Final = 1_000_000
"""Requests that are submitted together take about this at most."""
_PUBLISHED_BYTES: Final = 1_000_000
"""Reports that are saved together take at most this; a script holds Redis for as long as it runs."""
_PENDING_FIELDS = ["app", "biz", "module", "count", "created", "attempts", "owner", "lease", "job"]


def _size(call: _Call) -> int:
    return sum(len(argument) for argument in call[1] if isinstance(argument, bytes))


def _unfinished(request_id: str, fields: Sequence[bytes | None], now_ms: int) -> Report:
    app, biz, module, count, created, attempts, owner, lease, job = [value or b"" for value in fields]
    return Report.pending(
        int(count),
        running=bool(owner) and int(lease) > now_ms,
        request_id=request_id,
        bk_app_code=app.decode(),
        bk_biz_id=int(biz),
        bk_module_id=int(module),
        created_at=moment(float(created)),
        attempts=int(attempts),
        job=JobPart.load(job),
    )


def _found(request_id: str, answer: bytes | Sequence[bytes | None] | None, now_ms: int) -> Report | ValueError | None:
    if answer is None:
        return None
    return read_report(request_id, answer) if isinstance(answer, bytes) else _unfinished(request_id, answer, now_ms)


def read_report(request_id: str, stored: bytes | str) -> Report | ValueError:
    """A stored report, or why it cannot be read: a worker of the next version may have written it."""
    try:
        return Report.load(stored)
    except ValueError as error:
        _log.error("report cannot be read", request_id=request_id, error=type(error).__name__, frames=frames_of(error))
        return error


def _counted(report: Report) -> tuple[str, str]:
    """What its job counts of an ended batch, and why it failed; empty where it is no part of one."""
    if report.job is None:
        return "", ""
    problem = problem_of(report)
    return " ".join(map(str, counts_of(report))), problem.model_dump_json() if problem else ""


def _payload_ttl_s(report: Report, letter: bytes | None, settings: Settings) -> int:
    """0: it is not to be tried again; `_FORGOTTEN`: and was kept till now."""
    if report.status is Status.SUCCESS and report.delivery in (None, DeliveryStatus.DELIVERED):
        return 0 if report.delivery is None else _FORGOTTEN
    return settings.result_ttl_s if letter is None else max(PAYLOAD_TTL_S, settings.result_ttl_s)


class Requests:
    """All reads and writes of our Redis keys. Every method is one round trip and may be repeated."""

    def __init__(self, client: "aioredis.Redis", settings: Settings) -> None:
        self.client = client
        self.keys = Keys(settings.key_prefix)
        self.settings = settings
        self._submit = client.register_script(_SUBMIT)
        self._submitting: Gather[_Call, Any] = Gather(self._submit_together, at_once=2, weigh=_size, most=_SENT_BYTES)
        self._load = client.register_script(_LOAD)
        self._loading = Gather(self._load_together)
        self._publish = client.register_script(_PUBLISH)
        self._publishing = Gather(self._publish_together, most=_PUBLISHED_BYTES, weigh=lambda one: len(one[1]))
        self._cancel = client.register_script(_CANCEL)

    async def submit(
        self,
        entry: PendingEntry,
        message: bytes,
        idempotency_key: str | None = None,
        *,
        while_unfinished: bool = False,
    ) -> Submitted:
        """Write the pending entry and push `message` in one step; an empty one is sent elsewhere.

        Raises:
            QueueFull: `max_pending` requests are unfinished.
            IdempotencyConflict: the key was used with another body.
        """
        request_id, app = entry.request_id, entry.bk_app_code
        keys, settings = self.keys, self.settings
        answer = await self._submitting(
            (
                [
                    keys.request(request_id),
                    keys.result(request_id),
                    keys.pending,
                    QUEUE_NAME,
                    keys.of_app(app),
                    keys.idempotency(app, idempotency_key or request_id),
                ],
                [
                    request_id,
                    message,
                    settings.max_pending,
                    settings.idempotency_ttl_s,
                    entry.digest,
                    int(settings.request_deadline_s * 1000),
                    settings.result_ttl_s * 1000,
                    0 if idempotency_key is None else 2 if while_unfinished else 1,
                    *entry.fields(),
                ],
            )
        )
        if answer[0] == -1:
            raise QueueFull(answer[1])
        if answer[0] == 2:
            if answer[2].decode() != entry.digest:
                raise IdempotencyConflict
            return Submitted(answer[1].decode(), replayed=True)
        return Submitted(request_id, created_at=None if answer[1] is None else moment(answer[1]))

    async def _submit_together(self, calls: Sequence[_Call]) -> list[Any]:
        """Each call is a script of its own, so that none depends on another; they share the way there and back."""
        if len(calls) == 1:
            return [await self._submit(*calls[0])]
        answers = await self._pipelined(self._submit, calls)
        if any(isinstance(answer, NoScriptError) for answer in answers):
            await self.client.script_load(_SUBMIT)
            answers = await self._pipelined(self._submit, calls)
        return answers

    async def _pipelined(self, script: AsyncScript, calls: Sequence[_Call]) -> list[Any]:
        async with self.client.pipeline(transaction=False) as pipe:
            for keys, args in calls:
                pipe.evalsha(script.sha, len(keys), *keys, *args)
            return await pipe.execute(raise_on_error=False)

    async def holder_of(self, bk_app_code: str, idempotency_key: str) -> str | None:
        """The request_id that an application's key stands for; None when it stands for none any more."""
        stored = await self.client.get(self.keys.idempotency(bk_app_code, idempotency_key))
        return None if stored is None else cast("bytes", stored).partition(b"|")[0].decode()

    async def load(self, request_id: str) -> Report | None:
        """The report of a request: stored when it is finished, else made from the pending entry; None when unknown."""
        return await self._loading(request_id)

    async def load_many(self, request_ids: Sequence[str]) -> list[Report | None]:
        """`load` for each of `request_ids`, in one round trip and in their order; None also for what cannot be read."""
        found = await self._load_together(request_ids)
        return [None if isinstance(report, ValueError) else report for report in found]

    async def _load_together(self, request_ids: Sequence[str]) -> list[Report | ValueError | None]:
        if not request_ids:
            return []
        now_ms, *answers = await self._load(
            keys=[key for id_ in request_ids for key in (self.keys.result(id_), self.keys.request(id_))],
            args=_PENDING_FIELDS,
        )
        return [_found(id_, answer, now_ms) for id_, answer in zip(request_ids, answers, strict=True)]

    async def load_finished(self, request_ids: Sequence[str]) -> dict[str, Report]:
        """The stored reports among `request_ids`, in one MGET, but for those that cannot be read."""
        if not request_ids:
            return {}
        values = await self.client.mget([self.keys.result(request_id) for request_id in request_ids])
        stored = [(id_, value) for id_, value in zip(request_ids, values, strict=True) if value is not None]
        read = [(id_, read_report(id_, value)) for id_, value in stored]
        return {id_: report for id_, report in read if not isinstance(report, ValueError)}

    async def load_kept(self, request_id: str) -> Payload | None:
        """The payload of a finished request that did not succeed, while its report lives.

        What was cancelled stands as a pending entry until a worker has met it.

        Raises:
            ValueError: it is nothing that this version takes.
        """
        payload = await self.client.get(self.keys.kept(request_id))
        if payload is None:
            payload = cast("bytes | None", await self.client.hget(self.keys.request(request_id), "payload"))
        return None if payload is None else Payload.check(payload)

    async def cancel(self, report: Report) -> int:
        """End an unstarted request with `report`: 1 cancelled, 0 too late, -1 unknown or another application's."""
        id_, keys, ttl_s = report.request_id, self.keys, self.settings.result_ttl_s
        args: list[Any] = [id_, report.dump(), ttl_s, keys.done_channel, report.bk_app_code, *_counted(report)]
        return cast("int", await self._cancel(keys=[keys.request(id_), keys.result(id_)], args=args))

    async def publish(self, report: Report, dumped: bytes | None = None, token: str = "") -> bool:
        """Store a report, end the pending entry and wake the waiters; False when it had ended before.

        What others have said since stays: that CMDB has it, or how it ended once it was started anew.

        A request that was given up gets its dead letter in the same step.

        Args:
            report: how the request ended.
            dumped: ``report.dump()``, from who has it already.
            token: of the attempt that says so. What is another's by now, or was started anew, it does not give up.
        """
        return await self._publishing((report, report.dump() if dumped is None else dumped, token))

    async def _publish_together(self, reports: Sequence[tuple[Report, bytes, str]]) -> list[bool]:
        keys = [self.keys.pending, self.keys.finished_count, self.keys.dead_letters]
        args: list[str | bytes | int] = [
            self.settings.result_ttl_s,
            self.keys.done_channel,
            MAX_DEAD_LETTERS,
            MOST_SAID,
        ]
        for report, dumped, token in reports:
            id_, letter = report.request_id, letter_of(report)
            keys += [self.keys.result(id_), self.keys.request(id_), self.keys.kept(id_), self.keys.unknown(id_)]
            delivery = "" if report.delivery is None else report.delivery.value
            kept_s = _payload_ttl_s(report, letter, self.settings)
            args += [id_, dumped, delivery, token, kept_s, letter or b"", *_counted(report)]
        return [bool(ended) for ended in await self._publish(keys=keys, args=args)]

    async def now_ms(self) -> int:
        """Redis' clock, in milliseconds."""
        seconds, micros = await self.client.time()
        return int(seconds) * 1000 + int(micros) // 1000

    async def now(self) -> datetime:
        """Redis' clock."""
        return moment(await self.now_ms())
