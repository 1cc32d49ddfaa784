"""Batches through the whole system: bound and unbound, repeated, concurrent, refused."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest

from tests.acceptance.calls import bound, count_rows, instance_rows, rows, run, unbound
from tests.acceptance.pair import Pair


def test_bound_module_expands_every_process_template(pair: Pair) -> None:
    report = run(pair.http, bound(10, module=62))

    [service_instance_id] = report["data"]
    processes = instance_rows(pair.postgres, service_instance_id)["processes"]
    assert len(processes) == 2
    assert [len(process["bind_info"]) for process in processes] == [2, 2]


def test_bound_module_takes_unlocked_fields_and_keeps_locked_ones(pair: Pair) -> None:
    body = bound(11, process={"timeout": 77, "bk_func_name": "go", "bk_process_name": "other", "bind_info": [
        {"template_row_id": 1234, "ip": "1.2.3.4", "port": "9999", "protocol": "2", "enable": False}]})  # fmt: skip

    report = run(pair.http, body)

    [process] = instance_rows(pair.postgres, report["data"][0])["processes"]
    assert (process["timeout"], process["bk_func_name"], process["bk_process_name"]) == (77, "java", "job_java")
    assert process["bind_info"] == [
        {"template_row_id": 1234, "ip": "1.2.3.4", "port": "80", "protocol": "2", "enable": False}
    ]
    warned = {warning["path"] for warning in report["warnings"]}
    info = "instances[0].processes[0].process_info"
    assert {f"{info}.bk_func_name", f"{info}.bk_process_name", f"{info}.bind_info[0].port"} <= warned
    assert f"{info}.timeout" not in warned


def test_unbound_module_stores_the_callers_processes(pair: Pair) -> None:
    report = run(pair.http, unbound(12))

    stored = instance_rows(pair.postgres, report["data"][0])
    [process] = stored["processes"]
    assert (stored["service_template_id"], stored["name"]) == (0, "10.0.0.12_nginx_80")
    assert (process["process_template_id"], process["bk_process_name"], process["start_cmd"]) == (0, "nginx", "")
    assert process["proc_num"] is None
    assert process["bind_info"] == [
        {"template_row_id": 1, "ip": "127.0.0.1", "port": "80", "protocol": "1", "enable": True}
    ]


@pytest.mark.parametrize("body", [bound(13), unbound(14)], ids=["bound", "unbound"])
def test_repeat_under_another_request_id_gives_the_same_id(pair: Pair, body: dict[str, Any]) -> None:
    first = run(pair.http, body)
    before = count_rows(pair.postgres)
    second = run(pair.http, body)

    assert second["request_id"] != first["request_id"]
    assert second["data"] == first["data"]
    assert [item["outcome"] for item in second["items"]] == ["existing"]
    assert count_rows(pair.postgres) == before


@pytest.mark.parametrize("body", [bound(15), unbound(16)], ids=["bound", "unbound"])
def test_twenty_at_once_make_one_instance(pair: Pair, body: dict[str, Any]) -> None:
    before = count_rows(pair.postgres)
    with ThreadPoolExecutor(20) as pool:
        reports = list(pool.map(lambda _: run(pair.http, body), range(20)))

    assert len({report["request_id"] for report in reports}) == 20
    assert len({tuple(report["data"]) for report in reports}) == 1
    outcomes = sorted(report["items"][0]["outcome"] for report in reports)
    assert outcomes == ["created"] + ["existing"] * 19
    added = {table: count - before[table] for table, count in count_rows(pair.postgres).items()}
    assert added == {"service_instance": 1, "process": 1, "process_bind_info": 1, "audit_log": 1}


@pytest.mark.rule("A31", "ids are answered in the order of the input")
def test_a_hundred_instances_are_answered_in_input_order(pair: Pair) -> None:
    hosts = [*range(101, 151), *range(51, 101)]
    body = {"bk_biz_id": 1, "bk_module_id": 62, "instances": [{"bk_host_id": host} for host in hosts]}

    report = run(pair.http, body)

    stored = rows(pair.postgres, "SELECT id, bk_host_id FROM service_instance WHERE bk_module_id = 62")
    host_of = {row["id"]: row["bk_host_id"] for row in stored}
    assert [host_of[id_] for id_ in report["data"]] == hosts
    assert report["statistics"]["success_count"] == 100


@pytest.mark.rule("A32", "no partial success: one transaction for the whole request", ours="so unless mode is partial")
def test_one_bad_instance_fails_all_of_an_atomic_batch(pair: Pair) -> None:
    before = count_rows(pair.postgres)
    body = unbound(18)
    body["instances"] += unbound(19, port="0")["instances"]

    report = run(pair.http, body)

    assert (report["status"], report["code"]) == ("FAILED", 1199011)
    assert report["errors"][0]["path"] == "instances[1].processes[0].process_info.bind_info[0].port"
    assert count_rows(pair.postgres) == before


def test_dry_run_shows_the_rows_and_writes_none(pair: Pair) -> None:
    existing = run(pair.http, bound(21))["data"][0]
    before = count_rows(pair.postgres)
    body = bound(21)
    body["instances"] += bound(22)["instances"]

    response = httpx2.post(f"{pair.http}/v1/batches:validate", json=body, timeout=60)

    report = response.json()
    assert (response.status_code, report["result"], report["data"]) == (200, True, None)
    assert [(item["outcome"], item["service_instance_id"]) for item in report["items"]] == [
        ("existing", existing),
        ("created", None),
    ]
    [process] = report["preview"][1]["processes"]
    assert (report["preview"][1]["name"], process["bk_process_name"]) == ("10.0.0.22_job_java_80", "job_java")
    assert process["bind_info"] == [
        {"template_row_id": 1234, "ip": "10.0.0.22", "port": "80", "protocol": "1", "enable": True}
    ]
    assert count_rows(pair.postgres) == before
    refused = httpx2.post(f"{pair.http}/v1/batches:validate", json=bound(21, module=999), timeout=60).json()
    assert (refused["result"], refused["code"]) == (False, 1101034)
    assert rows(pair.postgres, "SELECT 1 FROM request_ledger WHERE request_id = $1", refused["request_id"]) == []


def test_partial_mode_lets_each_instance_stand_alone(pair: Pair) -> None:
    body = unbound(23, mode="partial")
    body["instances"] += unbound(24, port="0")["instances"] + unbound(987654)["instances"]

    report = run(pair.http, body)

    assert (report["status"], report["result"], report["code"], report["data"]) == ("PART_FAILED", False, 1190011, None)
    assert [(item["outcome"], item["code"]) for item in report["items"]] == [
        ("created", 0),
        ("failed", 1199011),
        ("failed", 1110056),
    ]
    assert report["success_created"] == {"0": report["items"][0]["service_instance_id"]}
    assert sorted(report["error_msg"]) == ["1", "2"]
    assert report["statistics"] == {
        "total_count": 3,
        "success_count": 1,
        "failed_count": 2,
        "pending_count": 0,
        "running_count": 0,
    }
