"""`bksi deliver …` as an operator types it, and what Prometheus is told."""

import json

import pytest

from tests.conftest import RunBksi
from tests.integration.worker.delivery.conftest import Side
from worker import metrics
from worker.postgres.deliveries import read_backlog

pytestmark = pytest.mark.anyio


def delivered(outcome: str) -> float:
    return metrics.REGISTRY.get_sample_value("bksi_deliveries_total", {"outcome": outcome}) or 0.0


async def test_what_waits_and_what_failed_is_listed_retried_and_dropped(
    side: Side, bksi: RunBksi, database: str
) -> None:
    env = {"BKSI_POSTGRES_DSN": database}
    before = delivered("failed"), delivered("delivered")
    side.cmdb.hosts_of[60].remove(3)
    bad, waits = await side.write(3), await side.write(2)
    await side.deliver(bad)
    third = await side.write(4)

    listed = json.loads(bksi("deliver", "ls", "--json", env=env).stdout)
    assert [(one["request_id"], one["status"]) for one in listed["deliveries"]] == [(bad, "FAILED"), (third, "PENDING")]
    assert (listed["pending"], listed["failed"]) == (1, 1)
    assert listed["deliveries"][0]["code"] > 0
    shown = bksi("deliver", "ls", "--status", "FAILED", env=env).stdout
    assert bad in shown
    assert third not in shown
    assert "1 pending" in shown
    assert await read_backlog(side.engine) == {"pending": 1, "failed": 1, "oldest_s": pytest.approx(0, abs=60)}
    assert (delivered("failed") - before[0], delivered("delivered") - before[1]) == (1, 1), "of them " + waits

    assert bksi("deliver", "retry", bad, env=env).stdout == f"{bad}: retried\n"
    assert bksi("deliver", "drop", third, env=env).stdout == f"{third}: dropped\n"
    unknown = bksi("deliver", "drop", "f" * 32, env=env)
    assert (unknown.returncode, unknown.stderr) == (1, f"{'f' * 32}: not dropped: there is nothing of it to deliver\n")
    side.cmdb.hosts_of[60].append(3)
    await side.deliver(bad)
    assert await side.rows("SELECT count(*) FROM delivery") == [(0,)]
    assert sorted(one["bk_host_id"] for one in side.cmdb.instances) == [2, 3], "what was given up is not created"


async def test_without_a_database_it_is_one_line(bksi: RunBksi) -> None:
    failed = bksi("deliver", "ls", env={"BKSI_POSTGRES_DSN": "postgresql://nobody:CANARY@127.0.0.1:1/x"})
    assert failed.returncode == 1
    assert failed.stderr.count("\n") == 1
    assert failed.stderr.startswith("BKSI_POSTGRES_DSN (postgresql://127.0.0.1:1/x): ")
    assert "CANARY" not in failed.stderr
