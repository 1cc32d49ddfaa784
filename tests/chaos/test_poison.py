"""A request that kills, hangs or breaks whoever works on it: at most three starts, then an answer; others go on."""

import base64
import json
import signal
import time

import pytest

from chaos.history import Told
from contract.answer.report import Report
from contract.codes import Code
from contract.message import QUEUE_NAME, new_request_id
from contract.redis.records import Keys
from tests.chaos.nursery import Child, wait_until
from tests.chaos.system import System, bound, direct_message, on_both_transports, unbound
from tests.conftest import RunBksi

ATTEMPTS = 3


def _given_up(system: System, poison: str, reports: list[Report]) -> None:
    by_id = {report.request_id: report for report in reports}
    assert (by_id[poison].code, by_id[poison].status.value) == (Code.DEAD_LETTER, "FAILED")
    assert {report.code for id_, report in by_id.items() if id_ != poison} == {0}
    judged = system.judge()
    assert judged.ended == {"FAILED": 1, "SUCCESS": len(reports) - 1}
    with system.redis() as client:
        (letter,) = client.lrange("bksi:dead", 0, -1)
        assert poison.encode() in letter
        assert client.exists(f"bksi:kept:{poison}")  # so that it can be sent again


@pytest.mark.parametrize(("action", "code"), [("kill", -signal.SIGKILL), ("abort", -signal.SIGABRT)])
def test_request_that_ends_every_worker_is_started_three_times(system: System, action: str, code: int) -> None:
    poison, *_ = system.submit(bound(1), bound(2), unbound(3))
    for _ in range(ATTEMPTS):
        assert system.worker(f"after_lease@{poison}={action}").wait() == code
    survivor = system.worker(f"before_write@{poison}={action}")

    reports = system.finish()

    assert survivor.returncode is None
    assert not system.has_passed("after_lease", ATTEMPTS + 1)
    _given_up(system, poison, reports)


def test_requests_that_stood_beside_a_killer_are_not_given_up_with_it(system: System) -> None:
    """All three were started by the worker that died. From then on none of them is started beside another of them."""
    poison, *_ = system.submit(bound(1), bound(2), unbound(3))
    first = system.worker("before_write=hold")
    system.passed("before_write", 3)
    first.kill()
    for _ in range(ATTEMPTS - 1):
        assert system.worker(f"before_write@{poison}=kill").wait() == -signal.SIGKILL
    system.worker(f"before_write@{poison}=kill")

    reports = system.finish()

    _given_up(system, poison, reports)
    assert [report.attempts for report in reports if report.request_id != poison] == [2, 2]


@pytest.mark.parametrize("action", ["memory", "raise"])
def test_request_that_breaks_its_task_is_started_three_times_by_the_same_worker(system: System, action: str) -> None:
    poison, *_ = system.submit(bound(1), bound(2), unbound(3))
    worker = system.worker(f"before_write@{poison}={action}")

    reports = system.finish()

    assert worker.returncode is None
    assert system.has_passed("before_write", ATTEMPTS)
    assert not system.has_passed("before_write", ATTEMPTS + 1)
    _given_up(system, poison, reports)


def test_request_that_was_given_up_is_sent_again_by_hand_and_succeeds(system: System, bksi: RunBksi) -> None:
    poison, *_ = system.submit(bound(1), unbound(3))
    broken = system.worker(f"before_write@{poison}=raise")
    system.finish()
    broken.kill()
    system.worker()
    system.told[poison].reports.clear()  # taken back

    env = {"BKSI_REDIS_URL": system.redis_url, "BKSI_POSTGRES_DSN": system.dsn}
    sent = bksi("dlq", "requeue", poison, env=env)
    assert sent.returncode == 0, sent.stderr

    reports = {report.request_id: report for report in system.all_succeed()}
    assert reports[poison].attempts == 1
    assert system.redis_keys("bksi:dead") == []


def test_request_that_never_comes_to_an_end_is_cut_off(system: System) -> None:
    poison, *_ = system.submit(bound(1), bound(2), unbound(3))
    worker = system.worker(f"before_write@{poison}=sleep:3600", BKSI_ATTEMPT_TIMEOUT_S="0.3")

    reports = system.finish()

    assert worker.returncode is None
    _given_up(system, poison, reports)


def test_endless_loop_stops_its_worker_and_the_others_go_on(system: System) -> None:
    """Nothing else runs in that process any more, its heartbeats included; so its requests are anybody's."""
    poison, *_ = system.submit(bound(1), bound(2), unbound(3))
    stuck: list[Child] = []
    for number in range(1, ATTEMPTS + 1):
        stuck.append(system.worker(f"before_write@{poison}=hang"))
        system.passed("before_write", number)
    system.worker(f"before_write@{poison}=hang")

    reports = system.finish()

    assert [worker.returncode for worker in stuck] == [None] * ATTEMPTS
    _given_up(system, poison, reports)


def test_worker_whose_event_loop_hangs_leaves_the_queue_to_others(system: System) -> None:
    """It would hold what it takes until it ends, and the request would be sent again, perhaps to the same one."""
    (poison,) = system.submit(bound(1))
    system.worker(f"before_write@{poison}=hang:1")
    system.passed("before_write")
    with system.redis() as client:
        wait_until(lambda: not [one for one in client.client_list() if "b" in one["flags"]], 30, "waits no more")
        system.submit(bound(2), bound(3))
        wait_until(lambda: client.llen(QUEUE_NAME) >= 2, 10, "left alone")

    system.worker()

    system.all_succeed()


def test_poison_whose_end_cannot_be_written_ends_all_the_same(system: System) -> None:
    """A NUL in a direct message's caller: PostgreSQL takes no text with it, not even to say that the request failed."""
    request_id = new_request_id()
    worker = system.worker()
    with system.redis() as client:
        client.lpush(QUEUE_NAME, direct_message(request_id, bound(1), app="a\0b"))
    system.submit(bound(2))

    report = wait_until(lambda: system.poll(request_id, "a\0b"))
    report = wait_until(lambda: (found := system.poll(request_id, "a\0b")) and found.status.is_final and found)

    assert report.code == Code.DEAD_LETTER
    system.all_succeed()
    assert worker.returncode is None


@on_both_transports
@pytest.mark.parametrize("action", ["memory", "raise"])
def test_direct_message_that_cannot_be_taken_is_set_aside_and_not_lost(
    system: System, bksi: RunBksi, action: str
) -> None:
    """Nothing of it is in the ledger yet, so three failures end in a dead letter that can be sent again."""
    poison, batch = new_request_id(), bound(1)
    worker = system.worker(f"after_take@{poison}={action}")
    with system.redis() as client:
        client.lpush(QUEUE_NAME, direct_message(poison, batch, bk_app_secret="secret-canary"))
        system.submit(bound(2))
        (stored,) = wait_until(lambda: client.lrange("bksi:dead", 0, -1), 10, f"set aside {system.logs()}")
        assert not client.exists(Keys("bksi:").failed_takes(poison))
    system.all_succeed()
    assert worker.returncode is None
    assert not system.has_passed("after_take", ATTEMPTS + 1)

    env = {"BKSI_REDIS_URL": system.redis_url, "BKSI_POSTGRES_DSN": system.dsn}
    letter = json.loads(stored)
    assert (letter["kind"], letter["task_id"]) == ("message", poison)
    assert b"secret-canary" not in base64.b64decode(json.loads(base64.b64decode(letter["raw"]))["body"])

    worker.kill()
    system.worker()
    system.told[poison] = Told(batch, time.monotonic())
    sent = bksi("dlq", "requeue", letter["id"], env=env)
    assert sent.returncode == 0, sent.stderr

    wait_until(lambda: system.redis_keys(f"bksi:*:{poison}"))
    system.all_succeed()
    assert system.redis_keys("bksi:dead") == []
