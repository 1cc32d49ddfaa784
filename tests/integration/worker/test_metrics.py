"""A worker's /metrics, of a real worker over real servers."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from chaos.nursery import Nursery
from contract.message import QUEUE_NAME
from devstack.ports import free_port
from devstack.process import Guard
from devstack.servers import Valkey
from tests.conftest import execute
from tests.integration.live import APP, LiveWorker, batch
from tests.integration.scrape import scrape

NOBODYS_HOST = 10**9


@pytest.fixture(scope="module")
def servers(
    guard: Guard,
    clone_database: Callable[[str], str],
    catalogue_template: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[dict[str, str]]:
    with Valkey(tmp_path_factory.mktemp("redis"), guard) as valkey:
        yield {
            "BKSI_REDIS_URL": valkey.url,
            "BKSI_POSTGRES_DSN": clone_database(catalogue_template),
            "BKSI_METRICS_PORT": str(free_port()),
            "BKSI_OWNER_TTL_MS": "1000",
        }


@pytest.fixture(scope="module")
def worker(
    servers: Mapping[str, str], nursery: Nursery, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LiveWorker]:
    with LiveWorker(servers, tmp_path_factory.mktemp("worker"), nursery) as worker:
        yield worker


@pytest.fixture
def metrics(servers: Mapping[str, str]) -> Callable[[], dict[str, float]]:
    return lambda: scrape(f"http://127.0.0.1:{servers['BKSI_METRICS_PORT']}/metrics")


def test_each_way_to_end_is_counted(worker: LiveWorker, metrics: Callable[[], dict[str, float]]) -> None:
    two = {**batch(1), "instances": [{"bk_host_id": host} for host in range(1, 13)]}
    worker.report(worker.send(0, kwargs=_kwargs("a" * 32, two), request_id="a" * 32))
    worker.report(worker.send(1))
    worker.report(worker.send(NOBODYS_HOST))
    worker.redis.lpush(QUEUE_NAME, b"no message")
    worker.wait_for(worker.letters, "the dead letter")

    def counted() -> bool:
        return metrics().get(f'bksi_requests_ended_total{{app="{APP}",code="0",status="SUCCESS"}}') == 2

    worker.wait_for(counted, "both successes to be counted")
    found = metrics()
    assert sum(value for name, value in found.items() if name.startswith("bksi_requests_ended_total")) == 3
    assert found['bksi_instances_ended_total{code="0",outcome="created"}'] == 12
    assert found['bksi_instances_ended_total{code="0",outcome="existing"}'] == 1
    assert sum(value for name, value in found.items() if 'outcome="failed"' in name) == 1
    assert found['bksi_request_seconds_count{lane="large"}'] == 1
    assert found['bksi_request_wait_seconds_count{lane="small"}'] == 2
    assert found['bksi_leases_total{state="leased"}'] == 3
    assert found['bksi_dead_letters_written_total{reason="unfit"}'] == 1
    assert found["bksi_rows_written_total"] > 12
    assert found["bksi_write_group_requests_count"] >= 2
    assert found["bksi_messages_taken_total"] == 4
    assert found["bksi_redis_call_seconds_count"] > 3
    assert found["bksi_postgres_call_seconds_count"] > 3


def _kwargs(request_id: str, asked: object) -> dict[str, object]:
    return {"request_id": request_id, "batch": asked, "caller": {"bk_app_code": APP}}


def test_what_is_looked_at_is_of_now(
    worker: LiveWorker, metrics: Callable[[], dict[str, float]], servers: Mapping[str, str]
) -> None:
    worker.wait_for(lambda: metrics()["bksi_worker_heartbeat_timestamp_seconds"], "the first heartbeat")
    before = metrics()
    assert abs(time.time() - before["bksi_worker_heartbeat_timestamp_seconds"]) < 60
    assert (before["bksi_worker_paused"], before["bksi_requests_in_hand_max"]) == (0, 64)
    assert before['bksi_requests_in_hand{lane="small",state="running"}'] == 0

    execute(servers["BKSI_POSTGRES_DSN"], "UPDATE module SET bk_module_name = 'new' WHERE bk_module_id = 60")

    after = metrics()
    assert after["bksi_catalogue_version"] > before["bksi_catalogue_version"]
    assert after["bksi_catalogue_changed_timestamp_seconds"] > before["bksi_catalogue_changed_timestamp_seconds"]


def test_what_cannot_be_told_is_no_number(
    worker: LiveWorker, metrics: Callable[[], dict[str, float]], servers: Mapping[str, str]
) -> None:
    execute(servers["BKSI_POSTGRES_DSN"], "ALTER TABLE catalogue_version RENAME TO elsewhere")
    found = metrics()
    execute(servers["BKSI_POSTGRES_DSN"], "ALTER TABLE elsewhere RENAME TO catalogue_version")

    assert math.isnan(found["bksi_catalogue_version"])
    assert found["bksi_worker_heartbeat_timestamp_seconds"] > 0


def test_worker_whose_port_is_in_use_says_so_and_works(
    worker: LiveWorker, servers: Mapping[str, str], nursery: Nursery, tmp_path: Path
) -> None:
    with LiveWorker(servers, tmp_path, nursery) as another:
        worker.process.stop()
        assert another.report(another.send(20))["result"] is True
        [line] = [line for line in another.process.log.read_text().splitlines() if "BKSI_METRICS_PORT" in line]
        assert f"127.0.0.1:{servers['BKSI_METRICS_PORT']}" in line
        assert "Address already in use" in line
