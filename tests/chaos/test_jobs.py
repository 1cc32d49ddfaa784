"""kill -9 at every step of a job: its counts stay true, it never hangs, and the same key goes on where it stopped."""

import json
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any, Final

import httpx2
import pytest

from api_shim.http.stream import NDJSON
from tests.chaos.nursery import wait_until
from tests.chaos.system import System
from tests.conftest import RunBksi
from tests.integration.live import answers

KILLED: Final = -signal.SIGKILL
HEAD: Final[dict[str, Any]] = {"bk_biz_id": 1, "bk_module_id": 61}
COUNT: Final = 350
STEPS: Final = ["after_lease", "after_write", "after_publish"]


def _lines(count: int = COUNT) -> list[bytes]:
    """A job's body: instances on 200 hosts, each with a name of its own."""
    processes = [{"process_info": {"bk_process_name": "alpha", "bk_func_name": "alpha"}}]
    instances = (
        {"bk_host_id": n % 200 + 1, "service_instance_name": f"unit-{n}", "processes": processes} for n in range(count)
    )
    return [json.dumps(document).encode() + b"\n" for document in (HEAD, *instances)]


class Caller:
    """Uploads jobs to one shim and asks for them."""

    def __init__(self, url: str) -> None:
        self._url = url
        wait_until(lambda: answers(f"{url}/healthz"))

    def upload(self, content: bytes | Iterator[bytes], key: str = "mine") -> httpx2.Response:
        return httpx2.post(
            f"{self._url}/v1/jobs",
            content=content,
            headers={"Content-Type": NDJSON, "Idempotency-Key": key},
            timeout=30,
        )

    def job(self, path: str, wait: int = 0) -> dict[str, Any]:
        answer = httpx2.get(self._url + path, timeout=30, headers={"Prefer": f"wait={wait}"})
        assert answer.status_code == 200, answer.text
        document: dict[str, Any] = answer.json()
        return document

    def jobs(self) -> list[dict[str, Any]]:
        listed: list[dict[str, Any]] = httpx2.get(f"{self._url}/v1/jobs").json()["jobs"]
        return listed

    def cancel(self, path: str) -> None:
        httpx2.post(f"{self._url}{path}:cancel", timeout=30)

    def items(self, job: dict[str, Any], outcome: str) -> list[dict[str, Any]]:
        path = f"{job['links']['items']}?outcome={outcome}"
        text = httpx2.get(self._url + path, timeout=30, headers={"Accept": NDJSON}).text
        return [json.loads(line) for line in text.splitlines()]

    def batches(self, job: dict[str, Any]) -> list[dict[str, Any]]:
        listed: list[dict[str, Any]] = httpx2.get(self._url + job["links"]["batches"]).json()["batches"]
        return listed


@pytest.fixture
def caller(system: System) -> Caller:
    return Caller(system.shim()[1])


def _succeeds(system: System, caller: Caller, path: str, count: int = COUNT) -> dict[str, Any]:
    """The job ends with every instance created, once."""
    wait_until(lambda: caller.job(path, 5)["finished_at"], 60, f"the end of {path}\n{system.logs()}")
    job = caller.job(path)
    assert (job["status"], job["result"], job["code"], job["accepted_count"]) == ("SUCCESS", True, 0, count)
    assert job["outcomes"] == {"created": count, "existing": 0, "healed": 0, "failed": 0, "skipped": 0}
    assert system.sql("SELECT count(*) AS n FROM service_instance") == [{"n": count}]
    assert [item["index"] for item in caller.items(job, "created")] == list(range(count))
    return job


@pytest.mark.parametrize("point", STEPS)
def test_kill_of_worker_counts_no_batch_twice_and_none_never(system: System, caller: Caller, point: str) -> None:
    path = caller.upload(b"".join(_lines())).headers["Location"]
    assert system.worker(f"{point}=kill:1").wait() == KILLED

    system.worker()

    _succeeds(system, caller, path)


@pytest.mark.parametrize("point", ["after_job_begun", "after_submit"])
def test_kill_of_shim_while_it_accepts_a_job(system: System, caller: Caller, point: str) -> None:
    dying, url = system.shim(f"{point}=kill:1")
    with pytest.raises(httpx2.TransportError):
        Caller(url).upload(b"".join(_lines()))
    assert dying.wait() == KILLED
    wait_until(lambda: caller.jobs()[0]["status"] == "INTERRUPTED")
    (interrupted,) = caller.jobs()
    assert interrupted["accepted_count"] == (100 if point == "after_submit" else 0)
    assert (interrupted["result"], interrupted["code"]) == (False, 1190015)

    again = caller.upload(b"".join(_lines()))
    assert again.json()["job_id"] == interrupted["job_id"]
    system.worker()

    _succeeds(system, caller, again.headers["Location"])


def test_kill_of_shim_in_the_middle_of_an_upload(system: System, caller: Caller) -> None:
    system.worker()
    dying, url = system.shim()
    uploading = Caller(url)
    go_on = threading.Event()

    def halting() -> Iterator[bytes]:
        yield b"".join(_lines()[:301])
        go_on.wait()

    def upload() -> None:
        with pytest.raises(httpx2.TransportError):
            uploading.upload(halting())

    thread = threading.Thread(target=upload)
    thread.start()
    wait_until(lambda: caller.jobs() and caller.jobs()[0]["accepted_count"] == 200)
    assert caller.jobs()[0]["status"] in ("PENDING", "RUNNING")
    dying.kill()
    go_on.set()
    thread.join()

    path = caller.jobs()[0]["links"]["self"]
    wait_until(lambda: caller.job(path, 5)["finished_at"], 30, "the end of what was accepted")
    ended = caller.job(path)
    assert (ended["status"], ended["outcomes"]["created"]) == ("INTERRUPTED", 200)
    again = caller.upload(b"".join(_lines()))
    assert again.headers["Location"] == path
    _succeeds(system, caller, path)


def test_sender_who_leaves_interrupts_the_job_at_once(system: System, caller: Caller) -> None:
    def leaving() -> Iterator[bytes]:
        yield b"".join(_lines()[:301])
        wait_until(lambda: caller.jobs() and caller.jobs()[0]["accepted_count"] == 200)
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        caller.upload(leaving())
    wait_until(lambda: caller.jobs()[0]["status"] == "INTERRUPTED")
    again = caller.upload(b"".join(_lines()))
    system.worker()
    _succeeds(system, caller, again.headers["Location"])


def test_job_cancelled_by_a_shim_that_dies_stays_cancelled(system: System, caller: Caller) -> None:
    path = caller.upload(b"".join(_lines())).headers["Location"]
    dying, url = system.shim("after_job_cancelled=kill:1")
    with pytest.raises(httpx2.TransportError):
        Caller(url).cancel(path)
    assert dying.wait() == KILLED

    system.worker()

    wait_until(lambda: caller.job(path, 5)["finished_at"], 30, f"the end\n{system.logs()}")
    job = caller.job(path)
    assert (job["status"], job["code"], job["outcomes"]["skipped"]) == ("TERMINATED", 1190008, COUNT)
    assert system.sql("SELECT FROM service_instance") == []
    assert {batch["status"] for batch in caller.batches(job)} == {"TERMINATED"}


def test_job_that_redis_has_forgotten_comes_back_from_postgresql(system: System, caller: Caller) -> None:
    lines = _lines()
    lines[150] = b'{"bk_host_id": 404}\n'
    system.worker()
    path = caller.upload(b"".join(lines)).headers["Location"]
    wait_until(lambda: caller.job(path, 5)["finished_at"], 30, f"the end\n{system.logs()}")
    before = caller.job(path)
    assert (before["status"], before["code"]) == ("PART_FAILED", 1190011)
    known = [read(caller, before) for read in READS]
    with system.redis() as client:
        client.delete(*client.scan_iter("bksi:*"))

    after = caller.job(path)

    assert {**after, "created_at": "", "finished_at": "", "expires_at": ""} == {
        **before,
        "created_at": "",
        "finished_at": "",
        "expires_at": "",
    }
    assert [read(caller, after) for read in READS] == known


READS: Final[list[Callable[[Caller, dict[str, Any]], Any]]] = [
    lambda caller, job: caller.batches(job),
    lambda caller, job: caller.items(job, "failed"),
    lambda caller, job: caller.items(job, "skipped"),
    lambda caller, job: caller.items(job, "created"),
]


def test_batch_that_was_given_up_and_is_started_anew_is_counted_once(
    system: System, caller: Caller, bksi: RunBksi
) -> None:
    path = caller.upload(b"".join(_lines(150))).headers["Location"]
    one = caller.batches(caller.job(path))[0]["request_id"]
    for _ in range(3):
        assert system.worker(f"before_write@{one}=kill").wait() == KILLED
    system.worker()
    wait_until(lambda: caller.job(path, 5)["finished_at"], 60, f"the end\n{system.logs()}")
    assert caller.job(path)["outcomes"]["failed"] == 100

    servers = {"BKSI_REDIS_URL": system.redis_url, "BKSI_POSTGRES_DSN": system.dsn}
    assert bksi("dlq", "requeue", one, env=servers).returncode == 0

    _succeeds(system, caller, path, 150)
