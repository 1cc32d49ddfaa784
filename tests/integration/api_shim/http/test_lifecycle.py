"""A request from its acceptance to its end, as v1 and compat callers see it. The end is saved as a worker saves it."""

import asyncio
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest
import redis as redis_client

from contract.answer.report import Report
from contract.answer.status import Item, Outcome, Problem, Status
from contract.codes import Code, Refused
from contract.message import QUEUE_NAME
from contract.redis.records import Keys, Note
from tests.integration.api_shim.http.door_client import ESB_PATH, NATIVE_PATH, V1_PATH, Client


def _end(door: Client, request_id: str, *, refused: Refused | None = None) -> None:
    about: dict[str, Any] = {
        "request_id": request_id,
        "bk_biz_id": 1,
        "bk_module_id": 60,
        "created_at": datetime.now(tz=UTC),
    }
    item = Item(index=0, bk_host_id=2, outcome=Outcome.CREATED, service_instance_id=53)
    report = Report.failed(refused, [2], **about) if refused else Report.settled([item], **about)
    door.run(door.door.submitter.requests.publish(report))


def _wait_for_cmdb(door: Client, request_id: str, *, is_awaited: bool = True) -> Callable[[Problem | None], None]:
    """Its rows are here, and go to CMDB, which its end waits for or not; call it with CMDB's refusal, or None."""
    about: dict[str, Any] = {"request_id": request_id, "bk_biz_id": 1, "bk_module_id": 60}
    item = Item(index=0, bk_host_id=2, outcome=Outcome.CREATED, service_instance_id=53)
    waits = Report.settled([item], created_at=datetime.now(tz=UTC), **about).to_deliver(is_awaited=is_awaited)
    publish = door.door.submitter.requests.publish
    door.run(publish(waits))

    def end(problem: Problem | None) -> None:
        now = datetime.now(tz=UTC)
        ended = waits.delivered({} if problem else {53: 1000}, {}, problem=problem, finished_at=now, expires_at=now)
        door.run(publish(ended))

    return end


def _accepted(door: Client, body: Any, **headers: str) -> httpx2.Response:
    answer = door.post(V1_PATH, body, headers=headers)
    assert answer.status_code == 202
    return answer


def test_seed_request_is_accepted_with_its_location(door: Client, seed: dict[str, Any]) -> None:
    answer = _accepted(door, seed)

    body = answer.json()
    assert answer.headers["Location"] == f"/v1/batches/{body['request_id']}"
    assert int(answer.headers["Retry-After"]) >= 1
    assert (body["result"], body["code"], body["data"], body["status"]) == (True, 0, None, "PENDING")
    assert {warning["path"].rpartition(".")[2] for warning in body["warnings"]} >= {"bk_process_id", "port"}


def test_poll_goes_from_pending_to_success_and_then_is_not_sent_again(door: Client, seed: dict[str, Any]) -> None:
    location = _accepted(door, seed).headers["Location"]
    pending = door.get(location)
    assert (pending.status_code, pending.json()["status"]) == (200, "PENDING")
    assert "Retry-After" in pending.headers

    _end(door, location.rpartition("/")[2])
    done = door.get(location)
    assert (done.json()["result"], done.json()["data"], done.json()["status"]) == (True, [53], "SUCCESS")
    assert "Retry-After" not in done.headers
    again = door.get(location, headers={"If-None-Match": done.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert door.get(location, headers={"If-None-Match": pending.headers["ETag"]}).status_code == 200


def test_long_poll_is_answered_when_the_request_ends(door: Client, seed: dict[str, Any]) -> None:
    location = _accepted(door, seed).headers["Location"]
    request_id = location.rpartition("/")[2]

    async def wait_and_end() -> httpx2.Response:
        waiting = asyncio.create_task(door.http.get(location, headers={"Prefer": "respond-async, wait=20"}))
        while door.door.submitter.waiters.count == 0:
            await asyncio.sleep(0)
        item = Item(index=0, bk_host_id=2, outcome=Outcome.EXISTING, service_instance_id=7)
        await door.door.submitter.requests.publish(
            Report.settled([item], request_id=request_id, bk_biz_id=1, bk_module_id=60, created_at=datetime.now(tz=UTC))
        )
        return await waiting

    answer = door.run(wait_and_end())
    assert (answer.json()["data"], answer.headers["Preference-Applied"]) == ([7], "wait=20")


def test_drain_lets_every_waiting_caller_go(door: Client, seed: dict[str, Any]) -> None:
    location = _accepted(door, seed).headers["Location"]

    async def wait_and_drain() -> httpx2.Response:
        waiting = asyncio.create_task(door.http.get(location, headers={"Prefer": "wait=20"}))
        while door.door.submitter.waiters.count == 0:
            await asyncio.sleep(0)
        door.door.waits.drain()
        return await waiting

    assert door.run(wait_and_drain()).json()["status"] == "PENDING"
    assert door.get(location, headers={"Prefer": "wait=20"}).json()["status"] == "PENDING"


@pytest.mark.bad_input(117, "one wait more than there may be", "answered at once")
def test_wait_past_the_cap_is_answered_at_once(open_door: Callable[..., Client], seed: dict[str, Any]) -> None:
    door = open_door(max_open_waits=1)
    location = _accepted(door, seed).headers["Location"]

    async def wait_twice() -> str:
        first = asyncio.create_task(door.http.get(location, headers={"Prefer": "wait=20"}))
        while door.door.waits.count == 0:
            await asyncio.sleep(0)
        second = await door.http.get(location, headers={"Prefer": "wait=20"})
        door.door.waits.drain()
        await first
        return str(second.json()["status"])

    assert door.run(wait_twice()) == "PENDING"


@pytest.mark.parametrize("path", [ESB_PATH, ESB_PATH.rstrip("/"), "/api/c/compapi/cc/create_service_instance/"])
def test_esb_answers_still_running_with_exactly_six_keys(door: Client, seed: dict[str, Any], path: str) -> None:
    answer = door.post(path, seed)

    assert answer.status_code == 200
    assert list(answer.json()) == ["result", "code", "message", "permission", "request_id", "data"]
    assert (answer.json()["result"], answer.json()["code"], answer.json()["data"]) == (False, 1190001, None)


def test_compat_repeat_attaches_while_unfinished_and_runs_anew_afterwards(door: Client, seed: dict[str, Any]) -> None:
    first = door.post(ESB_PATH, seed).json()["request_id"]
    assert door.post(NATIVE_PATH, seed).json()["request_id"] == first

    _end(door, first)
    assert door.post(ESB_PATH, seed).json()["request_id"] != first


def test_compat_repeat_attaches_while_the_rows_are_on_their_way_to_cmdb(door: Client, seed: dict[str, Any]) -> None:
    first = door.post(ESB_PATH, seed).json()["request_id"]
    end = _wait_for_cmdb(door, first)
    assert door.post(ESB_PATH, seed).json()["request_id"] == first
    assert door.call("POST", f"{V1_PATH}/{first}:cancel").status_code == 409, "its rows are here"

    end(None)
    assert door.get(f"{V1_PATH}/{first}").json()["data"] == [1000]
    assert door.post(ESB_PATH, seed).json()["request_id"] != first


def test_what_cmdb_has_refused_can_be_tried_again_once_for_all_who_ask(door: Client, seed: dict[str, Any]) -> None:
    location = _accepted(door, seed).headers["Location"]
    end = _wait_for_cmdb(door, location.rpartition("/")[2])
    assert door.call("POST", f"{location}:retry").status_code == 409, "it is unfinished"
    end(Problem(code=Code.NOT_DELIVERED, message_args=(1110056, "not in the module")))

    again = door.call("POST", f"{location}:retry")
    assert (again.status_code, again.json()["status"]) == (202, "PENDING")
    _wait_for_cmdb(door, again.json()["request_id"])
    repeated = door.call("POST", f"{location}:retry")
    assert repeated.json()["request_id"] == again.json()["request_id"]
    assert repeated.headers["Idempotent-Replayed"] == "true"


REFUSED_BY_CMDB = Problem(code=Code.NOT_DELIVERED, message_args=(1110056, "not in the module"))


def test_what_has_ended_before_cmdb_refused_it_can_be_tried_again(
    door: Client, seed: dict[str, Any], redis: "redis_client.Redis"
) -> None:
    location = _accepted(door, seed).headers["Location"]
    request_id = location.rpartition("/")[2]
    end = _wait_for_cmdb(door, request_id, is_awaited=False)
    assert door.call("POST", f"{location}:retry").status_code == 409, "it has succeeded, and CMDB is asked"
    end(REFUSED_BY_CMDB)
    assert door.get(location).json()["status"] == "SUCCESS"

    again = door.call("POST", f"{location}:retry")
    assert (again.status_code, again.json()["status"]) == (202, "PENDING")
    end(None)
    assert door.call("POST", f"{location}:retry").status_code == 409, "CMDB has it now"
    assert not redis.exists(Keys("bksi:").kept(request_id)), "what it asked for is kept no longer"


@pytest.mark.parametrize("is_awaited", [True, False])
def test_retry_clones_nothing_once_more_that_cmdb_refused(door: Client, is_awaited: bool) -> None:
    instance = {"bk_host_id": 2, "processes": [{"process_info": {"bk_process_name": "a", "bk_func_name": "a"}}]}
    body = {"bk_biz_id": 1, "bk_module_id": 61, "on_existing": "clone", "instances": [instance]}
    location = _accepted(door, body).headers["Location"]
    _wait_for_cmdb(door, location.rpartition("/")[2], is_awaited=is_awaited)(REFUSED_BY_CMDB)

    answer = door.call("POST", f"{location}:retry")
    assert (answer.status_code, answer.json()["code"]) == (409, 1190016)


@pytest.mark.parametrize("path", [ESB_PATH, NATIVE_PATH])
def test_mode_of_a_compat_request_is_ignored_with_a_warning(door: Client, seed: dict[str, Any], path: str) -> None:
    body = seed | {"mode": "partial"}
    request_id = door.post(path, body).json()["request_id"]

    payload = json.loads(door.run(door.door.submitter.requests.client.hget(f"bksi:req:{request_id}", "payload")))
    assert payload["batch"]["mode"] == "atomic"
    assert payload["warnings"][-1] == {"path": "mode", "reason": "v1_only"}
    # The same body again, with the field or without it, is the same request.
    assert {door.post(path, again).json()["request_id"] for again in (body, seed)} == {request_id}
    refused = door.post(
        f"{path}?strict=1", {"bk_biz_id": 1, "bk_module_id": 60, "instances": [{"bk_host_id": 2}], "mode": "partial"}
    )
    assert (refused.status_code, refused.json()["code"]) == (200, 1199006)
    assert "mode" in refused.json()["message"]


@pytest.mark.bad_input(76, "one idempotency key with two bodies", "422/1190004; the first stands")
def test_same_key_replays_and_another_body_is_refused(door: Client, seed: dict[str, Any]) -> None:
    first = _accepted(door, seed, **{"Idempotency-Key": "k-1"})
    again = _accepted(door, seed | {"client_request_id": "k-1"})
    polled = door.get(first.headers["Location"])
    assert {answer.json()["created_at"] for answer in (first, again, polled)} == {polled.json()["created_at"]}
    assert again.json()["request_id"] == first.json()["request_id"]
    assert (again.headers["Idempotent-Replayed"], "Idempotent-Replayed" in first.headers) == ("true", False)

    other = door.post(V1_PATH, seed | {"bk_module_id": 61}, headers={"Idempotency-Key": "k-1"})
    assert (other.status_code, other.json()["code"]) == (422, 1190004)
    compat = door.post(ESB_PATH, seed | {"bk_module_id": 61, "client_request_id": "k-1"})
    assert (compat.status_code, compat.json()["code"]) == (200, 1190004)


def test_cancel_ends_what_no_worker_has_started_and_nothing_else(door: Client, seed: dict[str, Any]) -> None:
    location = _accepted(door, seed).headers["Location"]
    cancelled = door.call("POST", f"{location}:cancel")
    assert (cancelled.status_code, cancelled.json()["status"], cancelled.json()["code"]) == (200, "TERMINATED", 1190008)
    created, ended, expires = (
        datetime.fromisoformat(cancelled.json()[name]) for name in ("created_at", "finished_at", "expires_at")
    )
    assert expires - ended == timedelta(days=30)
    assert created <= ended, "both are of Redis' clock"

    done = _accepted(door, seed).headers["Location"]
    _end(door, done.rpartition("/")[2])
    late = door.call("POST", f"{done}:cancel")
    assert (late.status_code, late.json()["code"], late.json()["status"]) == (409, 1190012, "SUCCESS")
    assert late.json()["message"].endswith("this one is SUCCESS")


def test_retry_right_after_cancel_is_a_new_request(door: Client, seed: dict[str, Any]) -> None:
    location = _accepted(door, seed).headers["Location"]
    door.call("POST", f"{location}:cancel")

    again = door.call("POST", f"{location}:retry")

    assert (again.status_code, again.json()["status"]) == (202, "PENDING")
    assert again.headers["Location"] != location


def test_retry_of_what_is_not_kept_says_so(door: Client, seed: dict[str, Any], redis: "redis_client.Redis") -> None:
    location = _accepted(door, seed).headers["Location"]
    request_id = location.rpartition("/")[2]
    _end(door, request_id, refused=Refused(Code.MODULE_NOT_FOUND))
    redis.delete(Keys("bksi:").kept(request_id))
    answer = door.call("POST", f"{location}:retry")
    assert (answer.status_code, answer.json()["code"]) == (410, 1190017)


def test_retry_of_a_failed_request_is_a_new_one(door: Client, seed: dict[str, Any]) -> None:
    location = _accepted(door, seed).headers["Location"]
    early = door.call("POST", f"{location}:retry")
    assert (early.status_code, early.json()["code"], early.json()["status"]) == (409, 1190016, "PENDING")
    _end(door, location.rpartition("/")[2], refused=Refused(Code.MODULE_NOT_FOUND))

    first, second = (door.call("POST", f"{location}:retry") for _ in range(2))
    assert (first.status_code, first.json()["status"]) == (202, "PENDING")
    assert first.headers["Location"] != location
    assert second.headers["Location"] == first.headers["Location"]


def test_failed_request_carries_the_code_with_http_200(door: Client, seed: dict[str, Any]) -> None:
    location = _accepted(door, seed).headers["Location"]
    _end(door, location.rpartition("/")[2], refused=Refused(Code.MODULE_NOT_FOUND))

    answer = door.get(location)
    assert (answer.status_code, answer.json()["result"], answer.json()["code"]) == (200, False, 1101034)


@pytest.mark.parametrize(
    ("method", "suffix"), [("GET", ""), ("GET", "/items"), ("POST", ":cancel"), ("POST", ":retry")]
)
def test_unknown_request_is_404(door: Client, unknown_id: str, method: str, suffix: str) -> None:
    answer = door.call(method, f"/v1/batches/{unknown_id}{suffix}")
    assert (answer.status_code, answer.json()["code"]) == (404, 1190002)


@pytest.mark.parametrize(
    ("method", "suffix"), [("GET", ""), ("GET", "/items"), ("POST", ":cancel"), ("POST", ":retry")]
)
def test_expired_request_is_410_with_its_status(
    door: Client, redis: "redis_client.Redis", method: str, suffix: str
) -> None:
    request_id = "1" * 32
    redis.set(Keys("bksi:").unknown(request_id), Note("", Status.FAILED).dump())

    answer = door.call(method, f"/v1/batches/{request_id}{suffix}")

    assert (answer.status_code, answer.json()["code"], answer.json()["status"]) == (410, 1190003, "FAILED")


def test_malformed_request_id_is_404_without_asking_anybody(door: Client, redis: "redis_client.Redis") -> None:
    assert door.get("/v1/batches/not-an-id").status_code == 404
    assert redis.llen(QUEUE_NAME) == 0


def test_poll_that_no_worker_answers_is_503(door: Client, redis: "redis_client.Redis") -> None:
    answer = door.get(f"/v1/batches/{'2' * 32}")

    assert (answer.status_code, answer.json()["code"]) == (503, 1190007)
    assert int(answer.headers["Retry-After"]) >= 1
    assert redis.llen(QUEUE_NAME) == 1


def test_list_pages_through_own_requests_newest_first(door: Client, seed: dict[str, Any]) -> None:
    ids = [_accepted(door, seed | {"bk_module_id": 60 + n % 2}).json()["request_id"] for n in range(5)]

    seen, cursor = [], ""
    for _ in range(3):
        page = door.get(f"/v1/batches?limit=2&cursor={cursor}").json()
        seen += [batch["request_id"] for batch in page["batches"]]
        cursor = page["next_cursor"] or ""
    assert sorted(seen) == sorted(ids)
    for full in ("limit=5", "limit=3&bk_module_id=60"):
        assert door.get(f"/v1/batches?{full}").json()["next_cursor"] is None, "nothing comes after it"
    odd = door.get("/v1/batches?bk_module_id=61&status=PENDING").json()["batches"]
    assert {batch["request_id"] for batch in odd} == {ids[1], ids[3]}


def test_misspelt_parameter_is_refused_with_those_that_there_are(door: Client, seed: dict[str, Any]) -> None:
    answer = door.get("/v1/batches?stauts=FAILED")
    assert (answer.status_code, answer.json()["code"]) == (400, 1199006)
    known = "bk_biz_id, bk_module_id, cursor, idempotency_key, limit, status"
    assert answer.json()["message"] == f"query.stauts is not valid: this call takes {known}"
    assert door.post(f"{ESB_PATH}?stauts=FAILED", seed).json()["code"] == Code.STILL_RUNNING, "old callers pass"


def test_no_call_of_v1_ignores_a_parameter(door: Client) -> None:
    calls = [(method, path) for path, methods in door.app.openapi()["paths"].items() for method in methods]
    for method, path in calls:
        if path.startswith("/v1/"):
            answer = door.call(method.upper(), f"{re.sub('{.*?}', '0' * 32, path)}?colour=red")
            [error] = answer.json()["errors"]
            assert (answer.status_code, error["path"]) == (400, "query.colour"), path


def test_list_finds_what_stands_behind_thousands_of_others(
    door: Client, seed: dict[str, Any], redis: "redis_client.Redis"
) -> None:
    failed, waiting, elsewhere = (
        _accepted(door, seed | {"bk_module_id": n}).json()["request_id"] for n in (60, 60, 61)
    )
    _end(door, failed, refused=Refused(Code.MODULE_NOT_FOUND))
    cancelled = _accepted(door, seed).json()["request_id"]
    door.call("POST", f"{V1_PATH}/{cancelled}:cancel")
    keys, about = Keys("bksi:"), {"bk_biz_id": 1, "bk_module_id": 60, "created_at": datetime.now(tz=UTC)}
    newest = redis.zrange(keys.of_app(""), -1, -1, withscores=True)[0][1] + 1
    ids = [f"{n:032x}" for n in range(4_500)]
    redis.zadd(keys.of_app(""), {request_id: newest + n for n, request_id in enumerate(ids)})
    item = Item(index=0, bk_host_id=2, outcome=Outcome.CREATED, service_instance_id=53)
    reports = {keys.result(id_): Report.settled([item], request_id=id_, **about).dump() for id_ in ids}
    redis.mset(reports)

    def found(query: str) -> list[str]:
        return [batch["request_id"] for batch in door.get(f"{V1_PATH}?limit=1&{query}").json()["batches"]]

    assert found("status=FAILED") == [failed]
    assert found("status=TERMINATED") == [cancelled]
    assert found("status=PENDING&bk_module_id=60") == [waiting]
    assert found("bk_module_id=61") == [elsewhere]
    assert found("status=SUCCESS") == [ids[-1]]
    assert door.get(f"{V1_PATH}?status=PART_FAILED").json() | {"request_id": ""} == door.get(
        f"{V1_PATH}?bk_module_id=7"
    ).json() | {"request_id": ""}
    # Page by page, each once.
    seen, cursor = [], ""
    while cursor is not None:
        page = door.get(f"{V1_PATH}?limit=500&cursor={cursor}").json()
        seen, cursor = seen + [batch["request_id"] for batch in page["batches"]], page["next_cursor"]
    assert len(seen) == len(set(seen)) == 4_504


def test_items_are_filtered_by_outcome(door: Client, seed: dict[str, Any]) -> None:
    location = _accepted(door, seed).headers["Location"]
    _end(door, location.rpartition("/")[2])

    assert [item["service_instance_id"] for item in door.get(f"{location}/items").json()["items"]] == [53]
    assert door.get(f"{location}/items?outcome=failed").json()["items"] == []


@pytest.mark.parametrize(
    "query",
    [
        "status=DONE",
        "limit=0",
        "limit=501",
        "limit=x",
        "bk_biz_id=1;DROP",
        "cursor=abc",
        "cursor=é",
        "idempotency_key=",
    ],
)
@pytest.mark.bad_input(113, "a cursor nobody was given, SQL in a filter", "400/1199006")
def test_list_refuses_a_bad_query(door: Client, query: str) -> None:
    answer = door.get(f"/v1/batches?{query}")
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["path"] == f"query.{query.partition('=')[0]}"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nowhere", 404), ("DELETE", V1_PATH, 405), ("GET", ESB_PATH, 405), ("POST", "/healthz", 405)],
)
def test_wrong_path_or_method_answers_an_envelope(door: Client, method: str, path: str, status: int) -> None:
    answer = door.call(method, path)
    assert (answer.status_code, answer.json()["code"], answer.json()["result"]) == (status, 1306404, False)


@pytest.mark.parametrize(
    ("path", "allowed"),
    [(V1_PATH, "GET, HEAD, POST"), ("/v1/batches:validate", "POST"), (ESB_PATH, "POST"), ("/healthz", "GET, HEAD")],
)
def test_wrong_method_answers_all_the_right_ones(door: Client, path: str, allowed: str) -> None:
    assert door.call("DELETE", path).headers["Allow"] == allowed


@pytest.mark.bad_input(101, "more requests than may wait", "503/1190006 with Retry-After")
def test_queue_full_is_503_with_retry_after(open_door: Callable[..., Client], seed: dict[str, Any]) -> None:
    door = open_door(max_pending=1)
    _accepted(door, seed)

    answer = door.post(V1_PATH, seed)
    assert (answer.status_code, answer.json()["code"]) == (503, 1190006)
    assert int(answer.headers["Retry-After"]) >= 1
    assert door.post(ESB_PATH, seed).json()["code"] == 1190006


def test_messages_come_in_the_callers_language(door: Client) -> None:
    for header in ("blueking-language", "X-Bkcmdb-Language", "Accept-Language"):
        assert "不" in door.get("/v1/batches/no-such-request", headers={header: "zh-cn"}).json()["message"]
    assert door.get("/v1/batches/no-such-request").json()["message"].isascii()


@pytest.mark.parametrize("sent", ["a b", "x" * 65, "\x1b[31m", "é"])
def test_unsafe_correlation_id_is_never_echoed(door: Client, sent: str) -> None:
    answer = door.call("GET", "/v1/batches/no-such-request", headers={"X-Request-Id": sent.encode()})
    assert answer.headers["X-Request-Id"] == answer.json()["request_id"]


def test_safe_correlation_id_is_echoed_and_is_not_the_request_id(door: Client, seed: dict[str, Any]) -> None:
    answer = _accepted(door, seed, **{"X-Request-Id": "trace-1"})
    assert answer.headers["X-Request-Id"] == "trace-1" != answer.json()["request_id"]
