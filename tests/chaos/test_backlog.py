"""Many requests wait: a worker takes no more memory for that, and callers are told how long it will take."""

import asyncio
import statistics
import time

import psutil

from contract.answer.status import Status
from contract.message import QUEUE_NAME
from contract.request.parse import parse
from tests.chaos.nursery import wait_until
from tests.chaos.system import CALLER, System, bound

REQUESTS = 1_000
AT_ONCE = 50
MIB = 1024 * 1024


def test_backlog_costs_no_memory_and_retry_after_tells_when_it_is_gone(system: System) -> None:
    batches = [parse(bound(host).body()).batch for host in range(1, AT_ONCE + 1)]

    async def submit_all() -> None:
        for _ in range(REQUESTS // AT_ONCE):
            await asyncio.gather(*(system.submitter.submit(batch, CALLER) for batch in batches))

    system.submitter  # noqa: B018 - opens it outside of the coroutine
    system.run(submit_all())
    with system.redis() as client:
        assert client.llen(QUEUE_NAME) == REQUESTS

    # As fast on every machine: 200 a second, and so for longer than the window in which the rate is measured.
    worker = system.worker("before_write=sleep:0.05", BKSI_WORKER_CONCURRENCY="10")
    wait_until(lambda: system.run(system.submitter.backlog.count()) < 0.9 * REQUESTS)
    memory: list[int] = []
    told: list[tuple[float, float]] = []

    def look() -> bool:
        pending = system.run(system.submitter.backlog.count())
        if pending > 0.1 * REQUESTS:
            told.append((time.monotonic(), system.run(system.submitter.backlog.retry_after())))
        memory.append(psutil.Process(worker.pid).memory_info().rss)
        return pending == 0

    wait_until(look)
    ended_at = time.monotonic()
    assert max(memory) - memory[0] < 24 * MIB
    # The first reading of the counter says nothing yet.
    ratios = [said / (ended_at - at) for at, said in told if said > 1.0]
    assert 0.5 < statistics.median(ratios) < 1.5, ratios
    assert system.sql("SELECT count(*) AS n FROM request_ledger WHERE status = 'SUCCESS'") == [{"n": REQUESTS}]


def test_small_requests_get_past_large_ones(system: System) -> None:
    large = system.submit(*(bound(*range(1, 12)) for _ in range(3)))
    held = ";".join(f"before_write@{id_}=hold" for id_ in large)
    system.worker(held, BKSI_FULL_BATCHES_AT_ONCE="1", BKSI_ATTEMPT_TIMEOUT_S="60")
    system.passed("before_write")

    small = system.submit(*(bound(host) for host in range(20, 30)))

    assert {report.status for report in system.finish(*small)} == {Status.SUCCESS}
    assert not system.has_passed("before_write", 2)
    system.release("before_write")
    system.all_succeed()
