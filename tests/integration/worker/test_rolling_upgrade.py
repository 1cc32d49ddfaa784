"""Workers of two versions on one queue: nothing waits for the upgrade to be over but what only the newer ones know."""

import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from chaos.nursery import Nursery
from contract.message import TASK_NAME
from devstack.process import Guard
from devstack.servers import Valkey
from tests.integration.live import LiveWorker

# Importing it would make a worker of this process.
NEWER = (*(sys.executable, "-m", "celery", "-A", "tests.integration.worker.newer"), "worker", "-E")
NEWER_TASK_NAME = TASK_NAME.removesuffix("1") + "2"


def test_old_and_new_workers_side_by_side_end_every_request(
    guard: Guard,
    nursery: Nursery,
    clone_database: Callable[[str], str],
    catalogue_template: str,
    tmp_path: Path,
) -> None:
    with ExitStack() as held:
        valkey = held.enter_context(Valkey(tmp_path / "redis", guard))
        servers = {"BKSI_REDIS_URL": valkey.url, "BKSI_POSTGRES_DSN": clone_database(catalogue_template)}
        servers |= {"BKSI_OWNER_TTL_MS": "1000"}
        old = held.enter_context(LiveWorker(servers, tmp_path, nursery))
        # Those who send are upgraded too early, too: only a newer worker knows what they send.
        early = [old.send(host, task=NEWER_TASK_NAME) for host in range(1, 11)]
        known = [old.send(host, task=TASK_NAME) for host in range(11, 21)]
        assert [old.report(request_id)["result"] for request_id in known] == [True] * 10
        old.wait_for(lambda: old.redis.llen("bksi:parked") == len(early), "what is newer is parked")

        (tmp_path / "newer").mkdir()
        newer = held.enter_context(LiveWorker(servers, tmp_path / "newer", guard, NEWER))
        mixed = [old.send(host, task=TASK_NAME if host % 2 else NEWER_TASK_NAME) for host in range(21, 41)]

        assert [newer.report(request_id)["result"] for request_id in early + mixed] == [True] * 30
        assert (newer.redis.llen("bksi:parked"), newer.letters()) == (0, [])
