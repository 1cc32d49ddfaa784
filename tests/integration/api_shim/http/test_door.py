"""The door without a worker behind it: what it accepts stays unfinished, and what it cannot reach it says at once."""

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis as redis_client

from contract.message import QUEUE_NAME
from devstack import sample
from devstack.process import Guard
from devstack.servers import Valkey
from tests.integration.api_shim.http.door_client import ESB_PATH, NATIVE_PATH, V1_PATH, Client
from tests.integration.scrape import parse

SEED = sample.REQUEST.read_bytes()
SIX_KEYS = ["result", "code", "message", "permission", "request_id", "data"]


@pytest.mark.parametrize("path", [ESB_PATH, ESB_PATH.rstrip("/"), NATIVE_PATH])
def test_unfinished_compat_call_says_so_and_is_found_again(
    door: Client, redis: "redis_client.Redis", path: str
) -> None:
    first, again = door.post(path, SEED), door.post(path, SEED)

    assert (first.status_code, first.json()["result"], first.json()["code"]) == (200, False, 1190001)
    assert again.json()["request_id"] == first.json()["request_id"]
    assert redis.llen(QUEUE_NAME) == 1
    assert list(first.json())[:6] == SIX_KEYS
    poll = door.get(f"{V1_PATH}/{first.json()['request_id']}")
    assert (poll.status_code, poll.json()["status"]) == (200, "PENDING")
    assert int(poll.headers["Retry-After"]) >= 1


def test_same_idempotency_key_replays_and_another_body_conflicts(door: Client, redis: "redis_client.Redis") -> None:
    key = {"Idempotency-Key": "order-17"}
    other = {"bk_biz_id": 1, "bk_module_id": 60, "instances": [{"bk_host_id": 3}]}

    first, again, conflict = (door.post(V1_PATH, body, headers=key) for body in (SEED, SEED, other))

    assert first.status_code == 202
    assert again.json()["request_id"] == first.json()["request_id"]
    assert again.headers["Idempotent-Replayed"] == "true"
    assert (conflict.status_code, conflict.json()["code"]) == (422, 1190004)
    assert redis.llen(QUEUE_NAME) == 1


def test_full_queue_is_refused_with_a_time_to_come_back(
    open_door: Callable[..., Client], redis: "redis_client.Redis"
) -> None:
    door = open_door(max_pending=1)
    other = {"bk_biz_id": 1, "bk_module_id": 60, "instances": [{"bk_host_id": 3}]}
    door.post(V1_PATH, SEED)

    refused = door.post(V1_PATH, other)

    assert (refused.status_code, refused.json()["code"]) == (503, 1190006)
    assert int(refused.headers["Retry-After"]) >= 1
    assert door.post(ESB_PATH, other).json()["code"] == 1190006
    assert redis.llen(QUEUE_NAME) == 1


def test_redis_that_is_down_is_said_at_once_on_every_path(
    open_door: Callable[..., Client], guard: Guard, tmp_path: Path
) -> None:
    with Valkey(tmp_path, guard) as server:
        door = open_door(redis_url=server.url)
        key = {"Idempotency-Key": "before"}
        accepted = door.post(V1_PATH, SEED, headers=key)
        assert accepted.status_code == 202
        server.kill()

        submitted, polled = door.post(V1_PATH, SEED), door.get(f"{V1_PATH}/{'0' * 32}")
        compat = door.post(ESB_PATH, SEED)

        for answer in (submitted, polled):
            assert (answer.status_code, answer.json()["code"]) == (503, 1190007)
        assert (compat.status_code, compat.json()["result"], compat.json()["code"]) == (200, False, 1190007)
        assert door.get("/healthz").status_code == 200
        assert door.get("/readyz").status_code == 503
        server.start()
        assert door.post(V1_PATH, SEED).status_code == 202
        again = door.post(V1_PATH, SEED, headers=key)
        assert again.json()["request_id"] == accepted.json()["request_id"]
        assert again.headers["Idempotent-Replayed"] == "true"


def test_unknown_route_and_method_answer_an_envelope(door: Client) -> None:
    for answer in (door.get("/nowhere"), door.get(ESB_PATH)):
        assert answer.status_code in (404, 405, 200)
        assert answer.json()["result"] is False


def test_openapi_names_every_path(door: Client) -> None:
    paths: dict[str, Any] = door.get("/openapi.json").json()["paths"]

    assert {V1_PATH, f"{V1_PATH}/{{request_id}}", ESB_PATH, NATIVE_PATH} <= set(paths)


def test_documentation_page_loads_nothing_from_elsewhere(door: Client) -> None:
    page = door.get("/docs")

    assert page.status_code == 200
    assert page.headers["Content-Type"].startswith("text/html")
    loaded = re.findall(r"""(?:src|href)="([^"]+)\"""", page.text)
    assert len(loaded) == 3
    for address in loaded:
        assert address.startswith("/")
        assert door.get(address).status_code == 200
    assert "//cdn" not in page.text


def test_texts_come_in_the_callers_language(door: Client) -> None:
    body = {"bk_biz_id": 1, "bk_module_id": 60, "instances": []}

    english = door.post(V1_PATH, body, headers={"blueking-language": "en"}).json()
    chinese = door.post(V1_PATH, body, headers={"blueking-language": "zh-cn"}).json()

    assert english["code"] == chinese["code"] == 1199010
    assert english["message"].isascii()
    assert not chinese["message"].isascii()


def test_metrics_count_the_dead_letters(door: Client, redis: "redis_client.Redis") -> None:
    assert "\nbksi_dead_letters 0.0\n" in door.get("/metrics").text
    redis.lpush("bksi:dead", b"{}", b"{}")
    assert "\nbksi_dead_letters 2.0\n" in door.get("/metrics").text


def test_metrics_count_the_parked_messages(door: Client, redis: "redis_client.Redis") -> None:
    assert "\nbksi_parked_messages 0.0\n" in door.get("/metrics").text
    redis.lpush("bksi:parked", b"x", b"y", b"z")
    assert "\nbksi_parked_messages 3.0\n" in door.get("/metrics").text


def test_metrics_count_what_is_submitted_and_what_is_not(door: Client, seed: dict[str, Any]) -> None:
    door.post(V1_PATH, seed, headers={"Idempotency-Key": "one"})
    door.post(V1_PATH, seed, headers={"Idempotency-Key": "one"})
    door.post(f"{V1_PATH}:validate", seed, headers={"Prefer": "wait=0"})
    door.post(V1_PATH, {"bk_biz_id": 1, "bk_module_id": 60, "instances": []})

    found = parse(door.get("/metrics").text)

    assert found['bksi_requests_submitted_total{app="",kind="create"}'] == 1
    assert found['bksi_requests_submitted_total{app="",kind="validate"}'] == 1
    assert found['bksi_requests_replayed_total{app=""}'] == 1
    assert found['bksi_requests_refused_total{app="",code="1199010"}'] == 1
    assert found['bksi_queue_messages{priority="0"}'] == found["bksi_pending_requests"] == 2
    assert found["bksi_redis_call_seconds_count"] > 0


def test_metrics_tell_the_age_of_the_oldest(door: Client, seed: dict[str, Any], redis: "redis_client.Redis") -> None:
    assert _ages(door) == (0, 0)
    request_id = door.post(V1_PATH, seed).json()["request_id"]
    now_ms = redis.time()[0] * 1000
    redis.zadd("bksi:pending", {request_id: now_ms - 90_000})
    assert [round(age, -1) for age in _ages(door)] == [90, 90]

    redis.lpop("service_instance")  # a worker has it
    assert [round(age, -1) for age in _ages(door)] == [90, 0]
    redis.lpush("service_instance", b"a message that nobody knows")
    assert math.isnan(_ages(door)[1])


def _ages(door: Client) -> tuple[float, float]:
    found = parse(door.get("/metrics").text)
    return found["bksi_pending_oldest_seconds"], found["bksi_queue_oldest_seconds"]
