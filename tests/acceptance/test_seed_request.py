"""The documented requests, the example byte for byte, through HTTP, a Celery worker, PostgreSQL and Redis."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Any

import httpx2
import jsonschema_rs
import pytest
import redis as redis_client

from tests.acceptance.calls import COMPAT_PATHS, SEED_BYTES, SIX_KEYS, compat, count_rows, finish, instance_rows
from tests.acceptance.pair import Pair

# What template 1 of the sample catalogue makes of it: what it locks is what the request says, and 1234 is its row.
EXPECTED_PROCESS = {
    "process_template_id": 1,
    "bk_func_name": "java",
    "bk_process_name": "job_java",
    "timeout": 30,
    "priority": 1,
    "proc_num": 1,
    "auto_start": False,
    "work_path": "/data/bkee",
    "start_cmd": "",
    "bind_info": [{"template_row_id": 1234, "ip": "127.0.0.1", "port": "80", "protocol": "1", "enable": False}],
}


@pytest.fixture(scope="module")
def stack(open_pair: Callable[..., AbstractContextManager[Pair]]) -> Iterator[Pair]:
    """Not everybody's: others, the READMEs' snippets among them, name the same host and ask for other processes."""
    with open_pair() as pair:
        yield pair


@pytest.fixture(scope="module")
def seed_id(stack: Any) -> int:
    """The id that the example request gets."""
    envelope = compat(stack.http, SEED_BYTES)
    assert envelope["result"] is True
    [service_instance_id] = envelope["data"]
    return int(service_instance_id)


@pytest.mark.rule(
    "5.1", "success: result, code 0, message, permission null, data in input order, and request_id on ESB"
)
@pytest.mark.rule("A2", "data is an array of ids")
@pytest.mark.rule(
    "A25", "code and message on ESB, bk_error_code and bk_error_msg on the native path", ours="native: both"
)
@pytest.mark.rule(
    "A26", "request_id on ESB is a fresh text of 32 hex digits", ours="on every path; it is what is polled"
)
@pytest.mark.rule("A27", "permission is null unless a permission is missing")
@pytest.mark.parametrize("path", COMPAT_PATHS)
def test_seed_request_on_each_compat_path_answers_the_same_id(stack: Any, seed_id: int, path: str) -> None:
    before = count_rows(stack.postgres)

    envelope = compat(stack.http, SEED_BYTES, path)

    native = path.startswith("/api/v3")
    assert sorted(envelope) == sorted([*SIX_KEYS, "bk_error_code", "bk_error_msg"] if native else SIX_KEYS)
    assert (envelope["result"], envelope["code"], envelope["message"]) == (True, 0, "success")
    assert envelope["permission"] is None
    assert len(envelope["request_id"]) == 32
    assert envelope["data"] == [seed_id]
    assert count_rows(stack.postgres) == before


@pytest.mark.rule("3.7", "the documented example request, expanded with a template of one row")
def test_seed_request_leaves_the_rows_the_rules_demand(stack: Any, seed_id: int) -> None:
    stored = instance_rows(stack.postgres, seed_id)

    assert {key: stored[key] for key in ("bk_biz_id", "bk_module_id", "bk_host_id", "service_template_id", "name")} == {
        "bk_biz_id": 1,
        "bk_module_id": 60,
        "bk_host_id": 2,
        "service_template_id": 1,
        "name": "10.0.0.2_job_java_80",
    }
    [process] = stored["processes"]
    assert {key: process[key] for key in EXPECTED_PROCESS} == EXPECTED_PROCESS


def test_seed_request_on_v1_is_accepted_then_polled(stack: Any, seed_id: int) -> None:
    response = httpx2.post(
        f"{stack.http}/v1/batches", content=SEED_BYTES, headers={"Content-Type": "application/json"}, timeout=60
    )
    assert response.status_code == 202
    request_id = response.json()["request_id"]
    assert response.headers["Location"] == f"/v1/batches/{request_id}"
    assert int(response.headers["Retry-After"]) >= 1

    report = finish(stack.http, request_id)

    assert list(report)[:6] == SIX_KEYS
    assert (report["result"], report["status"], report["data"]) == (True, "SUCCESS", [seed_id])
    [item] = report["items"]
    assert (item["index"], item["bk_host_id"], item["outcome"], item["service_instance_id"]) == (
        0,
        2,
        "existing",
        seed_id,
    )
    warned = {warning["path"].removeprefix("instances[0].processes[0].process_info.") for warning in report["warnings"]}
    assert warned == {"bk_supplier_account", "port", "bk_biz_id", "bk_process_id"}


def test_report_waits_in_redis_under_the_request_id(stack: Any, seed_id: int) -> None:
    request_id = compat(stack.http, SEED_BYTES)["request_id"]

    with redis_client.Redis.from_url(stack.redis) as redis:
        stored = json.loads(redis.get(f"bksi:result:{request_id}") or b"{}")
        ttl = redis.ttl(f"bksi:result:{request_id}")

    assert {key: stored[key] for key in SIX_KEYS} == {
        "result": True,
        "code": 0,
        "message": "success",
        "permission": None,
        "request_id": request_id,
        "data": [seed_id],
    }
    assert ttl > 0


def test_seed_request_twenty_at_once_is_one_instance(stack: Any, seed_id: int) -> None:
    before = count_rows(stack.postgres)

    with ThreadPoolExecutor(20) as pool:
        envelopes = list(pool.map(lambda _: compat(stack.http, SEED_BYTES), range(20)))

    assert [envelope["data"] for envelope in envelopes] == [[seed_id]] * 20
    assert len({envelope["request_id"] for envelope in envelopes}) >= 1
    assert count_rows(stack.postgres) == before


def test_every_documented_request_passes_its_schema_and_is_accepted(stack: Any) -> None:
    """Those of the API description; they name the hosts of the example as well."""
    document = httpx2.get(f"{stack.http}/openapi.json", timeout=60).json()
    sent = 0
    for path, methods in document["paths"].items():
        operation = methods.get("post", {})
        for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
            for name, example in content["examples"].items():
                value = example["value"]
                jsonschema_rs.validate({**content["schema"], "components": document["components"]}, value)
                body = value if isinstance(value, str) else json.dumps(value)
                answer = httpx2.post(
                    stack.http + path, content=body.encode(), headers={"Content-Type": media_type}, timeout=60
                )
                assert answer.status_code in (200, 202), (path, name, answer.text)
                said = operation["responses"][str(answer.status_code)]["content"]["application/json"]["schema"]
                jsonschema_rs.validate({**said, "components": document["components"]}, answer.json())
                if path.startswith("/api/"):
                    assert answer.json()["result"] is True, (path, name, answer.text)
                sent += 1
    assert sent == 5 * 2 + 2 * 3 + 3
