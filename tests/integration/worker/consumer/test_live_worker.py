"""A live worker and a queue that anybody can write: no message hurts it, and what stands behind each is done.

One worker takes all of it. Its process id at the end is the one it had at the beginning.
"""

import base64
import re
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from chaos.nursery import Nursery
from contract.message import QUEUE_NAME, TASK_NAME
from devstack.process import Guard
from devstack.servers import Valkey
from tests.integration.live import APP, LiveWorker, batch
from tests.unit.worker.consumer.transport.messages import NEWER, UNFIT, raw, wire
from worker.consumer.transport.configure import TRANSPORT
from worker.consumer.transport.letter import KEPT_OF_DEAD

STEM = TASK_NAME.rpartition("v1")[0].encode()
SHAPES = {
    **{name: shape.replace(b"mark.v", STEM + b"v") for name, shape in UNFIT.items()},
    "20 MB": raw(wire(TASK_NAME, ["x" * 20_000_000])),
}


@pytest.fixture(scope="module")
def valkey(guard: Guard, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    with Valkey(tmp_path_factory.mktemp("redis"), guard) as server:
        yield server


@pytest.fixture(scope="module")
def worker(
    valkey: Valkey,
    clone_database: Callable[[str], str],
    catalogue_template: str,
    nursery: Nursery,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[LiveWorker]:
    settings = {
        "BKSI_REDIS_URL": valkey.url,
        "BKSI_POSTGRES_DSN": clone_database(catalogue_template),
        "BKSI_OWNER_TTL_MS": "1000",
        "BKSI_REMOTE_CONTROL": "1",
    }
    with LiveWorker(settings, tmp_path_factory.mktemp("worker"), nursery) as worker:
        yield worker
        assert worker.process.returncode is None


@pytest.fixture(scope="module")
def behind(worker: LiveWorker) -> dict[str, str]:
    """Every shape was put on the queue with a good request behind it; the request's id by the shape's name."""
    ids = {}
    for host, (name, shape) in enumerate(SHAPES.items(), 1):
        worker.redis.lpush(QUEUE_NAME, shape)
        ids[name] = worker.send(host)
    return ids


@pytest.mark.parametrize("name", SHAPES)
def test_malformed_message_is_set_aside_and_the_request_behind_it_is_done(
    worker: LiveWorker, behind: dict[str, str], name: str
) -> None:
    assert worker.report(behind[name])["result"] is True

    kept = base64.b64encode(SHAPES[name][:KEPT_OF_DEAD]).decode()
    (letter,) = [letter for letter in worker.letters() if (letter["raw"], letter["size"]) == (kept, len(SHAPES[name]))]
    assert letter["kind"] == "message"
    assert letter["queue"] == QUEUE_NAME
    assert letter["reason"].isprintable()
    assert letter["reason"]
    assert worker.process.returncode is None


@pytest.mark.parametrize(
    ("kwargs", "code"),
    [
        ({"batch": batch(0)}, 1199006),
        ({"batch": batch(1) | {"bk_biz_id": "1"}}, 1199009),
        ({"batch": batch(1) | {"instances": []}}, 1199010),
        ({"batch": {}}, 1199010),
        ({"batch": batch(1) | {"bk_module_id": 404}}, 1101034),
    ],
    ids=["host 0", "biz a text", "no instances", "nothing", "module unknown"],
)
def test_batch_that_is_refused_is_answered(worker: LiveWorker, kwargs: dict[str, Any], code: int) -> None:
    request_id = uuid.uuid4().hex
    letters = worker.letters()
    worker.send(1, request_id=request_id, kwargs={"request_id": request_id, "caller": {"bk_app_code": APP}, **kwargs})

    assert worker.report(request_id)["code"] == code
    assert worker.letters() == letters


def test_newer_version_of_the_task_is_kept_for_a_newer_worker(worker: LiveWorker) -> None:
    newer = NEWER.replace(b"mark.v", STEM + b"v")
    letters = worker.letters()
    worker.redis.lpush(QUEUE_NAME, *[newer] * 1_000)

    assert worker.report(worker.send(90))["result"] is True

    parked = worker.redis.lrange("bksi:parked", 0, -1)
    assert {one.split(b"\n", 1)[1] for one in parked} == {QUEUE_NAME.encode() + b"\n" + newer}
    assert len(parked) == 1_000
    assert worker.letters() == letters
    worker.redis.delete("bksi:parked")


def test_parked_message_is_run_by_the_worker_that_knows_its_task(worker: LiveWorker) -> None:
    request_id = uuid.uuid4().hex
    kwargs = {"request_id": request_id, "batch": batch(93), "caller": {"bk_app_code": APP}}
    worker.celery.send_task(TASK_NAME, kwargs=kwargs, task_id=request_id, queue="not this worker's")
    message = worker.redis.rpop("not this worker's")
    now_ms = worker.redis.time()[0] * 1000

    # As a worker that knows no version 1 yet would have left it.
    worker.redis.lpush("bksi:parked", f"{now_ms} {TASK_NAME}\n{QUEUE_NAME}\n".encode() + message)

    assert worker.report(request_id)["result"] is True
    assert worker.redis.exists("bksi:parked") == 0


@pytest.mark.parametrize(
    "option", [{}, {"priority": 6}, {"headers": {"traceparent": "00-1-2-00"}}, {"retries": 1}], ids=str
)
def test_stock_sender_is_understood(worker: LiveWorker, option: dict[str, Any]) -> None:
    assert worker.report(worker.send(91, **option))["data"]


def test_stock_remote_control_is_answered(worker: LiveWorker) -> None:
    """What Flower and `celery inspect` ask."""
    (stats,) = worker.celery.control.inspect(timeout=5, limit=1).stats().values()

    assert stats["pid"] == worker.pid
    assert stats["broker"]["transport"] == TRANSPORT


@pytest.mark.parametrize("way", ["stop", "kill"])
def test_worker_goes_on_after_a_restart_of_redis(worker: LiveWorker, valkey: Valkey, way: str) -> None:
    getattr(valkey, way)()
    valkey.start()

    worker.redis.lpush(QUEUE_NAME, b"null")
    assert worker.report(worker.send(92))["result"] is True

    assert base64.b64decode(worker.letters()[0]["raw"]) == b"null"
    assert worker.process.pid == worker.pid


@pytest.mark.parametrize("key", [QUEUE_NAME, f"{QUEUE_NAME}\x06\x163", f"{QUEUE_NAME}\x06\x169"])
@pytest.mark.bad_input(
    101,
    "a key of a queue, priorities too, that is a set and no list",
    "set aside with a dead letter; the worker goes on",
)
def test_key_of_the_wrong_type_is_set_aside_and_said(worker: LiveWorker, key: str) -> None:
    # A request that is waited for: the queue is empty, and stays free of lists.
    assert worker.report(worker.send(70))["result"] is True
    worker.redis.sadd(key, "x")
    worker.wait_for(lambda: worker.redis.exists(key) == 0, "the key's end")

    (letter,) = [letter for letter in worker.letters() if letter["queue"] == key and "instead of" in letter["reason"]]
    kept = re.findall(r"bksi:misfit:\w+", letter["reason"])
    assert [worker.redis.smembers(name) for name in kept] == [{b"x"}]
    assert worker.redis.ttl(kept[0]) > 0
    assert worker.report(worker.send(71))["result"] is True
