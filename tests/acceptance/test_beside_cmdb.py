"""`bksi up --cmdb`: the system beside a CMDB that has service instances, from its first second on."""

import json
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from chaos.nursery import Nursery
from devstack.ports import free_port
from devstack.running import RunningStack
from tests.chaos.nursery import wait_until
from tests.integration.live import answers, running
from tests.integration.worker.catalogue.cmdb_server import CmdbServer
from tests.unit.worker.catalogue.cmdb_items import process_instance, service_instance


def submit(http: str, module: int, *hosts: int) -> dict[str, Any]:
    body = {"bk_biz_id": 1, "bk_module_id": module, "instances": [{"bk_host_id": host} for host in hosts]}
    asked = urllib.request.Request(
        f"{http}/v1/batches",
        json.dumps(body).encode(),
        {"Content-Type": "application/json", "Prefer": "wait=20"},
    )
    with urllib.request.urlopen(asked, timeout=30) as answer:
        found: dict[str, Any] = json.load(answer)
    return found


def delivered(http: str, request_id: str) -> dict[str, Any]:
    """A request's report once CMDB has its rows."""

    def ask() -> dict[str, Any] | None:
        with urllib.request.urlopen(f"{http}/v1/batches/{request_id}", timeout=30) as answer:
            found: dict[str, Any] = json.load(answer)
        return found if found["delivery"] == "DELIVERED" else None

    report: dict[str, Any] = wait_until(ask, 60, "delivered")
    return report


def listed(url: str, module: int) -> list[tuple[int, str, list[str]]]:
    """What CMDB, or who answers like it, lists of a module: host, name and processes of each instance."""
    path = "/api/v3/findmany/proc/service_instance/details"
    body = {"bk_biz_id": 1, "bk_module_id": module, "page": {"start": 0, "limit": 100}}
    asked = urllib.request.Request(url + path, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(asked, timeout=30) as answer:
        found = json.load(answer)["data"]["info"]
    return sorted(
        (
            one["bk_host_id"],
            one["name"],
            sorted(process["process"]["bk_process_name"] for process in one["process_instances"] or ()),
        )
        for one in found
    )


@pytest.fixture
def reader(nursery: Nursery, tmp_path: Path) -> Iterator[Callable[[str], str]]:
    """Start `bksi read` on a database; its URL."""
    with ExitStack() as started:

        def start(dsn: str) -> str:
            url = f"http://127.0.0.1:{(port := free_port())}"
            env = {"BKSI_READ_DSN": dsn, "BKSI_READ_PORT": str(port)}
            log = tmp_path / "read.log"
            ready = partial(answers, f"{url}/healthz")
            started.enter_context(running(nursery, "read", environment=env, log=log, ready=ready))
            return url

        yield start


def test_known_instances_keep_their_ids_and_a_host_that_moved_is_known_at_once(
    tmp_path: Path, reader: Callable[[str], str]
) -> None:
    with CmdbServer().serving() as cmdb:
        cmdb.fill(templates=1, modules=3, hosts=40, hosts_per_module=2)
        first, second = cmdb.hosts_of[2]
        known = process_instance(720, 72, template_id=1, bind_info=[])
        cmdb.instances = [service_instance(72, first, bk_module_id=2, process_instances=[known])]
        with RunningStack.start(tmp_path, "--cmdb", cmdb.url, "--biz", "1") as stack:
            answer = submit(stack.http, 2, first, second)
            assert [item["outcome"] for item in answer["items"]] == ["existing", "created"]
            assert answer["data"][0] == 72
            assert answer["data"][1] > 10**9
            shown = delivered(stack.http, answer["request_id"])
            new = next(one for one in cmdb.instances if one["bk_host_id"] == second)
            assert [item["cmdb_id"] for item in shown["items"]] == [72, new["id"]]
            assert listed(reader(stack.postgres), 2) == listed(cmdb.url, 2)
            logs = "".join(path.read_text() for path in stack.logs.glob("*.log"))
            assert "delivery ended" in logs
            assert "HTTP Request" not in logs, "no line for each call to CMDB"
            cmdb.hosts_of[3].append(first)
            assert submit(stack.http, 3, first)["items"][0]["outcome"] == "created"
            assert submit(stack.http, 4, first)["code"] == 1101034
