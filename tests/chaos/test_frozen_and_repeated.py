"""A stale owner's commit changes nothing, and any number of deliveries leave what one leaves: promise 3."""

import signal

import pytest

from contract.message import QUEUE_NAME, build_message, make_celery
from contract.settings import Settings
from tests.chaos.system import System, bound, on_both_transports, unbound


@on_both_transports
@pytest.mark.parametrize("point", ["before_write", "after_write"])
def test_worker_frozen_past_its_lease_and_continued(system: System, point: str) -> None:
    (request_id,) = system.submit(unbound(1, 2))
    frozen = system.worker(f"{point}=stop:1;after_publish=sleep:0")
    system.passed(point)
    system.worker("after_publish=sleep:0")
    (report,) = system.all_succeed()
    assert report.attempts == (2 if point == "before_write" else 1)  # the attempt that committed tells the story

    frozen.signal(signal.SIGCONT)

    system.passed("after_publish", 2)
    assert system.finish(request_id) == [report]
    assert system.judge().ended == {"SUCCESS": 1}
    assert len(system.sql("SELECT FROM audit_log")) == 1


@on_both_transports
def test_the_same_message_five_times_at_once(system: System) -> None:
    ids = system.submit(*[bound(host, host + 1) for host in range(1, 9)], *[unbound(host) for host in range(1, 9)])
    app = make_celery(Settings())
    with system.redis() as client:
        for number in (1, 2, 3, 4):
            order = ids[number * 3 :] + ids[: number * 3]
            client.lpush(QUEUE_NAME, *[build_message(app, request_id, "again") for request_id in order])

    for _ in range(2):
        system.worker()

    reports = system.all_succeed()
    assert [report.attempts for report in reports] == [1] * len(reports)


def test_message_of_a_request_that_ended_long_ago_changes_nothing(system: System) -> None:
    system.worker("before_ack=sleep:0")
    (request_id,) = system.submit(unbound(1))
    (report,) = system.all_succeed()
    with system.redis() as client:
        client.flushdb()
        client.lpush(QUEUE_NAME, build_message(make_celery(Settings()), request_id, "late"))

    system.passed("before_ack", 2)
    assert system.finish(request_id) == [report]
    system.judge()


def test_requests_for_the_same_rows_under_many_ids(system: System) -> None:
    for _ in range(2):
        system.worker()
    system.submit(*[bound(1, 2, 3) for _ in range(10)], *[unbound(1, 2, 3) for _ in range(10)])

    reports = system.all_succeed()

    assert len({tuple(report.data or ()) for report in reports}) == 2
    assert system.sql("SELECT count(*) AS n FROM service_instance") == [{"n": 6}]
