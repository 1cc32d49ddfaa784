"""The pending entry of one request, the hash ``req:{request_id}``.

Without a payload it is none, whatever else it holds: a Redis that lost the writing of an entry may have kept what was
written to it later.

========= ==================================================================================================
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
job       which part of a job it is, as `contract.answer.part.JobPart` writes it, until its end is counted there
trace     the traceparent of its message, where that has one: a message that is sent again carries the trace on
========= ==================================================================================================
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from contract.answer.items import Warning_
from contract.answer.part import JobPart
from contract.message import Caller, Payload, summary
from contract.redis.script import CLOCK
from contract.request.batch import ServiceInstanceBatch

BEGIN_ENTRY: Final = (CLOCK, "contract/redis/parts/begin_entry.lua")
"""Parts of the scripts that write one."""


@dataclass(frozen=True, slots=True)
class PendingEntry:
    """The pending entry of one request, as it is written."""

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
