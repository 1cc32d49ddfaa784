"""What a job says of its instances while workers have them."""

import asyncio
import uuid

from contract.answer.report import Report
from contract.answer.status import JobPart, Outcome
from contract.codes import Code, Refused
from contract.message import Caller
from contract.redis.jobs import JobStore
from contract.redis.records import PendingEntry
from contract.request.batch import ServiceInstanceBatch
from tests.integration.contract.redis.test_requests import open_store

CALLER = Caller(bk_app_code="esb_test")


def test_instances_run_from_a_lease_to_the_end_or_until_they_are_handed_back(redis_url: str) -> None:
    async def main() -> None:
        async with open_store(redis_url) as requests:
            jobs = JobStore(requests)
            upload = await jobs.begin(CALLER, 1, 60, None)
            batch = ServiceInstanceBatch(1, 60, processes=[], instances=[(host, None, None) for host in range(2, 9)])
            part = JobPart(job_id=upload.job_id, number=0, first=0, is_last=True)
            entry = PendingEntry.of(uuid.uuid4().hex, batch, CALLER, job=part)
            await jobs.add(upload, entry, b"message", "chain")

            async def counts() -> tuple[int, int]:
                job = await jobs.load(upload.job_id)
                assert job is not None
                statistics = job.document("en", keep_days=30)["statistics"]
                return statistics["pending_count"], statistics["running_count"]

            assert await counts() == (7, 0)
            lease = await requests.lease(entry.request_id, "one")
            await requests.lease(entry.request_id, "one")
            assert await counts() == (0, 7)
            assert await requests.hand_back(lease, b"message", count_attempt=True)
            assert await counts() == (7, 0)
            lease = await requests.lease(entry.request_id, "other", alone=True)
            assert await counts() == (0, 7)
            report = Report.failed(
                Refused(Code.MODULE_NOT_FOUND),
                range(2, 9),
                request_id=entry.request_id,
                bk_app_code="esb_test",
                bk_biz_id=1,
                bk_module_id=60,
                created_at=lease.leased_at,
                job=part,
            )
            for _ in range(2):
                await requests.publish(report)
                assert await counts() == (0, 0)
            job = await jobs.load(upload.job_id)
            assert job is not None
            assert (job.running, job.outcomes[Outcome.FAILED], job.is_final) == (0, 7, True)

    asyncio.run(main())
