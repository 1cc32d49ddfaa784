"""kill -9 of a worker at every step of a delivery to CMDB: CMDB has at the end what is here, once."""

import signal
from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from chaos.cmdb.server import CmdbServer
from contract.answer.status import DeliveryStatus
from devstack import sample
from tests.chaos.nursery import wait_until
from tests.chaos.system import System, bound, unbound

KILLED = -signal.SIGKILL
STEPS = ["before_delivery", "before_cmdb_call", "after_cmdb_call", "after_cmdb_ids", "before_told", "after_told"]


@pytest.fixture
def cmdb() -> Iterator[CmdbServer]:
    """A CMDB with the sample's first business, and no instance."""
    server = CmdbServer(first_id=1000, hold_s=0.2)
    server.load(file for file in sample.CATALOGUE if "-biz-2" not in file.name)
    with server.serving():
        yield server


def beside(cmdb: CmdbServer) -> dict[str, str]:
    return {"BKSI_CMDB_URL": cmdb.url, "BKSI_CMDB_SETTLE_S": "0.5"}


def cmdb_has_what_is_here_once(system: System, cmdb: CmdbServer) -> None:
    wait_until(lambda: system.sql("SELECT count(*) AS n FROM delivery") == [{"n": 0}], 30, "delivered")
    rows = system.sql("SELECT bk_module_id AS module, bk_host_id AS host, name FROM service_instance")
    there = Counter((one["bk_module_id"], one["bk_host_id"], one["name"]) for one in cmdb.instances)
    assert there == Counter((row["module"], row["host"], row["name"]) for row in rows)
    ids = {row["cmdb_id"] for row in system.sql("SELECT cmdb_id FROM cmdb_instance WHERE gone_at IS NULL")}
    assert ids == {one["id"] for one in cmdb.instances}
    by_id = {one["id"]: one for one in cmdb.instances}
    for report in system.finish():
        assert report.delivery is DeliveryStatus.DELIVERED
        for item in report.items:
            assert by_id[item["cmdb_id"]]["bk_host_id"] == item["bk_host_id"]
    assert processes_in(cmdb) == Counter(
        (row["cmdb_id"], row["name"])
        for row in system.sql(
            "SELECT cmdb_id, bk_process_name AS name FROM process JOIN cmdb_instance USING (service_instance_id)"
        )
    )
    system.judge()


def processes_in(cmdb: CmdbServer) -> Counter[tuple[int, str]]:
    """The processes that CMDB has, by their instance and name."""
    return Counter(
        (one["id"], process["process"]["bk_process_name"])
        for one in cmdb.instances
        for process in one["process_instances"]
    )


@pytest.mark.parametrize("point", STEPS)
def test_kill_of_worker_at_a_step_of_a_delivery(system: System, cmdb: CmdbServer, point: str) -> None:
    system.submit(bound(1, 2, 3), unbound(1, 2), bound(3, 4))
    assert system.worker(f"{point}=kill:1", **beside(cmdb)).wait() == KILLED

    system.worker(**beside(cmdb))

    system.all_succeed()
    cmdb_has_what_is_here_once(system, cmdb)


def test_cmdb_that_ends_after_half_of_the_work_is_looked_at_again(system: System, cmdb: CmdbServer) -> None:
    cmdb.failures.set({"half": 1.0})
    system.submit(bound(1, 2, 3, 4, 5, 6), unbound(1, 2, 3))

    system.worker(**beside(cmdb))

    system.all_succeed()
    wait_until(lambda: cmdb.failures.done["half"], 30, "half of a call done")
    cmdb.failures.set({})
    cmdb_has_what_is_here_once(system, cmdb)


def test_worker_that_is_stopped_waits_for_no_answer_of_cmdb(system: System, cmdb: CmdbServer) -> None:
    cmdb.failures.hold_s = 60.0
    cmdb.failures.set({"silent": 1.0})
    system.submit(bound(1, 2))
    stopped = system.worker(**beside(cmdb))
    wait_until(lambda: cmdb.failures.done["silent"], 30, "asked CMDB")
    stopped.signal(signal.SIGTERM)
    assert stopped.wait(20) == 0
    assert "Traceback" not in stopped.log.read_text()
    cmdb.failures.set({})

    system.worker(**beside(cmdb))

    system.all_succeed()
    cmdb_has_what_is_here_once(system, cmdb)


def test_caller_of_the_old_call_gets_cmdbs_ids_where_the_answer_waits_for_it(system: System, cmdb: CmdbServer) -> None:
    _, url = system.shim()
    system.worker(**beside(cmdb), BKSI_ANSWER_AFTER="delivery")
    wait_until(lambda: _is_ready(url), 30, "ready")

    answer = httpx2.post(f"{url}/api/c/compapi/v2/cc/create_service_instance/", json=bound(2).body(), timeout=30)
    envelope: dict[str, Any] = answer.json()

    assert (envelope["result"], envelope["code"]) == (True, 0), system.logs()
    assert envelope["data"] == [one["id"] for one in cmdb.instances] == [1000]


def _is_ready(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/readyz", timeout=5).status_code == 200
    except httpx2.TransportError:
        return False
