"""Look-ups beside a worker that ends the very request meanwhile: whoever speaks last must not say the older thing."""

from types import SimpleNamespace
from typing import cast

import pytest

from contract.answer.job import JobStatus
from contract.answer.report import Report
from contract.answer.status import JobPart
from contract.codes import Code
from contract.message import Caller, new_request_id
from contract.redis.jobs import JobStore
from contract.redis.records import Note, PendingEntry
from tests.integration.worker.bench import BATCH, Bench
from worker.commands.dead_letters.letters import DeadLetters
from worker.custody.finish import finish_unfinished
from worker.custody.leases import Leases
from worker.runtime import Runtime
from worker.walk.publish_again import publish_again

pytestmark = pytest.mark.anyio


def runtime_of(bench: Bench, leases: Leases) -> Runtime:
    return cast("Runtime", SimpleNamespace(engine=bench.engine, leases=leases, settings=bench.settings))


async def test_request_that_ends_while_it_is_looked_up_is_not_said_to_be_unknown(bench: Bench) -> None:
    """Seen when a report was deleted soon after: the note, which came late, answered 404 for half a minute."""
    (request_id,) = await bench.accept()

    class Late(Leases):
        async def note_missing(self, request_id: str, note: Note) -> None:
            assert await finish_unfinished(bench.leases, bench.engine, request_id, Code.DEADLINE_EXCEEDED)
            await super().note_missing(request_id, note)

    leases = Late(bench.leases.client, bench.settings)

    assert await publish_again(runtime_of(bench, leases), {"request_id": request_id}) == "published"

    assert not bench.redis.exists(bench.leases.keys.unknown(request_id))
    report = await bench.leases.load(request_id)
    assert report is not None
    assert report.code == Code.DEADLINE_EXCEEDED


@pytest.mark.parametrize("has_ended", [False, True])
async def test_request_that_is_started_anew_while_it_is_looked_up_is_left_alone(bench: Bench, has_ended: bool) -> None:
    (request_id,) = await bench.accept()
    assert await finish_unfinished(bench.leases, bench.engine, request_id, Code.DEAD_LETTER)
    letters = DeadLetters(bench.leases, bench.queue, has_queue=True)
    bench.redis.delete(bench.leases.keys.result(request_id))

    class Late(Leases):
        async def put_back(self, report: Report) -> None:
            assert [await letters.revive(letter, bench.engine) async for letter in letters] == [True]
            if has_ended:
                assert await finish_unfinished(bench.leases, bench.engine, request_id, Code.DEADLINE_EXCEEDED)
            await super().put_back(report)

    leases = Late(bench.leases.client, bench.settings)

    assert await publish_again(runtime_of(bench, leases), {"request_id": request_id}) == "published"

    report = await bench.leases.load(request_id)
    assert report is not None
    assert report.code == (Code.DEADLINE_EXCEEDED if has_ended else Code.STILL_RUNNING)
    assert bench.pending() == (set() if has_ended else {request_id})


async def test_job_that_was_put_back_while_a_batch_ran_is_put_back_whole_once_that_has_ended(bench: Bench) -> None:
    """Its letter was older than what Redis knows of a job, and somebody looked at the job while it ran anew."""
    jobs, caller = JobStore(bench.leases), Caller(bk_app_code="app")
    upload = await jobs.begin(caller, 1, 60, None)
    job_id, runtime = upload.job_id, runtime_of(bench, bench.leases)
    ids = [new_request_id(), new_request_id()]
    for number, id_ in enumerate(ids):
        part = JobPart(job_id=job_id, number=number, first=number, is_last=id_ == ids[-1])
        await jobs.add(upload, PendingEntry.of(id_, BATCH, caller, job=part), b"", f"chain {number}")
        assert await finish_unfinished(bench.leases, bench.engine, id_, Code.DEAD_LETTER)
    keys = bench.leases.keys
    bench.redis.delete(keys.job(job_id), keys.job_batches(job_id), keys.job_failed(job_id))
    letters = DeadLetters(bench.leases, bench.queue, has_queue=True)
    assert await letters.revive((await letters.find(ids))[ids[0]], bench.engine)
    assert await publish_again(runtime, {"request_id": job_id}) == "job published"

    assert await finish_unfinished(bench.leases, bench.engine, ids[0], Code.DEADLINE_EXCEEDED)

    assert await jobs.load(job_id) is None
    assert await publish_again(runtime, {"request_id": job_id}) == "job published"
    job = await jobs.load(job_id)
    assert job is not None
    assert (job.status, job.ended, job.statistics.failed_count) == (JobStatus.FAILED, 2, 2)
    assert await jobs.batch_ids(job_id, 0, 10) == ids
