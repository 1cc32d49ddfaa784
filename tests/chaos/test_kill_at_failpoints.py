"""kill -9 of a worker or a shim at every step between receiving a request and acknowledging it: promises 1 to 5."""

import json
import signal
import time

import httpx2
import pytest

from chaos.history import Told
from chaos.model import Batch
from contract.message import QUEUE_NAME, new_request_id
from tests.chaos.nursery import wait_until
from tests.chaos.system import System, bound, on_both_transports, unbound
from tests.integration.live import answers

KILLED = -signal.SIGKILL
STEPS = ["after_take", "after_lease", "before_write", "after_write", "before_publish", "after_publish", "before_ack"]


@on_both_transports
@pytest.mark.parametrize("point", STEPS)
def test_kill_of_worker_at_a_step(system: System, point: str) -> None:
    system.submit(bound(1, 2, 3), unbound(1, 2), bound(3, 4))
    assert system.worker(f"{point}=kill:1", BKSI_WORKER_CONCURRENCY="2").wait() == KILLED

    system.worker()

    system.all_succeed()


@pytest.mark.parametrize("point", ["after_wake", "after_turn"])
def test_kill_between_pop_and_delivery(system: System, point: str) -> None:
    batches = bound(1, 2), unbound(1), bound(5)
    if point == "after_turn":  # a turn takes what waits already; what comes to a worker that listens wakes it
        system.submit(*batches)
    dying = system.worker(f"{point}=kill:1")
    if point == "after_wake":
        system.listening(dying)
        system.submit(*batches)
    assert dying.wait() == KILLED

    system.worker()

    system.all_succeed()


@on_both_transports
def test_message_popped_by_somebody_who_died_before_recording_it(system: System) -> None:
    """What kombu's own transport loses: the message is nowhere in Redis any more."""
    system.submit(bound(1), bound(2), unbound(1))
    with system.redis() as client:
        assert client.rpop(QUEUE_NAME)
        assert client.rpop(QUEUE_NAME)

    system.worker()

    system.all_succeed()


def test_kill_while_an_existing_instance_is_completed(system: System) -> None:
    healthy = system.worker()
    system.submit(unbound(1, 2, processes=["alpha"]))
    system.finish()
    healthy.signal(signal.SIGTERM)
    assert healthy.wait() == 0
    system.submit(unbound(1, 2, processes=["alpha", "beta"]))
    assert system.worker("before_commit=kill:1").wait() == KILLED
    assert system.sql("SELECT count(*) AS n FROM process") == [{"n": 2}]

    system.worker()

    system.all_succeed()


@pytest.mark.parametrize("point", ["after_take", "after_adopt", "after_write"])
def test_kill_while_a_direct_message_is_worked_on(system: System, point: str) -> None:
    request_id = new_request_id()
    system.send_direct(request_id, bound(7, 8))
    assert system.worker(f"{point}=kill:1").wait() == KILLED

    system.worker()

    # Until a worker has adopted it, nobody but the queue knows it.
    wait_until(lambda: system.redis_keys(f"bksi:*:{request_id}"))
    system.all_succeed()


def test_kill_while_an_attempt_is_handed_back(system: System) -> None:
    system.submit(bound(1), unbound(1))
    assert system.worker("after_lease=raise:1;before_hand_back=kill:1").wait() == KILLED

    system.worker()

    system.all_succeed()


@pytest.mark.parametrize("point", ["before_resend", "after_resend"])
def test_kill_of_the_reaper(system: System, point: str) -> None:
    system.submit(bound(1))
    assert system.worker("after_lease=kill:1").wait() == KILLED
    with system.redis() as client:  # the message is gone: only the reaper can bring the request back
        client.delete(*system.redis_keys("bksi:unacked:*"))
    assert system.worker(f"{point}=kill:1").wait() == KILLED

    system.worker()

    (report,) = system.all_succeed()
    assert report.attempts == 2


@pytest.mark.parametrize("point", ["before_submit", "after_submit"])
def test_kill_of_shim_while_it_submits(system: System, point: str) -> None:
    dying, url = system.shim(f"{point}=kill:1")
    batch = bound(1, 2)
    with pytest.raises(httpx2.TransportError):
        _post(url, batch, "mine")
    assert dying.wait() == KILLED

    _, url = system.shim()
    answer = _post(url, batch, "mine")
    assert answer.status_code == 202
    assert ("Idempotent-Replayed" in answer.headers) == (point == "after_submit")
    system.told[answer.json()["request_id"]] = Told(batch, time.monotonic())
    system.worker(BKSI_REDIS_URL=system.redis_url)

    wait_until(lambda: _get(url, answer.headers["Location"])["status"] == "SUCCESS")
    (told,) = system.told.values()
    told.reports.append(_get(url, answer.headers["Location"]))
    assert system.judge().accepted == 1
    assert len(system.sql("SELECT FROM request_ledger")) == 1


def _post(url: str, batch: Batch, key: str) -> httpx2.Response:
    wait_until(lambda: answers(f"{url}/healthz"))
    headers = {"Content-Type": "application/json", "Idempotency-Key": key}
    return httpx2.post(f"{url}/v1/batches", content=json.dumps(batch.body()).encode(), headers=headers, timeout=30)


def _get(url: str, path: str) -> dict[str, object]:
    document: dict[str, object] = httpx2.get(url + path, timeout=30).json()
    return document
