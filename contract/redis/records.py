"""What Redis holds of a request beside its report, and what is said on the ``done`` channel: each with who reads it.

A *pending entry* is what a worker leases. A *note* tells pollers that nobody can give a report back; it stands for a
short while, so that asking again costs PostgreSQL nothing. A *letter* tells operators of a request that was given up.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

import orjson

from contract.answer.items import Warning_
from contract.answer.report import Report
from contract.answer.status import JobPart, Status
from contract.codes import Code
from contract.message import Caller, Payload, summary
from contract.redis.script import CLOCK, Script
from contract.request.batch import ServiceInstanceBatch

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
