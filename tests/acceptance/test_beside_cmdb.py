"""`bksi up --cmdb`: the system beside a CMDB that has service instances, from its first second on."""

import json
import urllib.request
from pathlib import Path
from typing import Any

from devstack.running import RunningStack
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


def test_known_instances_keep_their_ids_and_a_host_that_moved_is_known_at_once(tmp_path: Path) -> None:
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
            cmdb.hosts_of[3].append(first)
            assert submit(stack.http, 3, first)["items"][0]["outcome"] == "created"
            assert submit(stack.http, 4, first)["code"] == 1101034
