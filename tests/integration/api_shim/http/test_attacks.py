"""Guessing, replaying, flooding and smuggling: what a caller who means no good can learn or change."""

import asyncio
import base64
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import httpx2
import pytest
import redis as redis_client

from api_shim.identity.applications import hash_secret
from api_shim.identity.credentials import without_credentials
from contract.message import QUEUE_NAME, new_request_id
from contract.redis.records import Keys, Note
from tests.integration.api_shim.http.door_client import ESB_PATH, V1_PATH, Client

MINE = {"X-Bkapi-Authorization": json.dumps({"bk_app_code": "mine", "bk_app_secret": "m"})}
THEIRS = {"X-Bkapi-Authorization": json.dumps({"bk_app_code": "theirs", "bk_app_secret": "t"})}


@pytest.fixture
def guarded(open_door: Callable[..., Client], apps_file: Callable[[str], Path]) -> Callable[..., Client]:
    path = apps_file(
        f"""
        [apps.mine]
        secrets = ["{hash_secret("m")}"]
        bk_biz_ids = "*"
        [apps.theirs]
        secrets = ["{hash_secret("t")}"]
        bk_biz_ids = "*"
        poll_rate = "5/hour"
        """
    )
    return lambda **settings: open_door(apps_file=path, **settings)


@pytest.fixture
def seed(seed: dict[str, Any]) -> dict[str, Any]:
    """Without credentials of its own, which would contradict those of the header."""
    return without_credentials(seed)


def same_but_for_the_id(answers: list[httpx2.Response]) -> bool:
    """Whether nothing tells them apart: body, status, headers."""
    told = [
        (answer.status_code, answer.json() | {"request_id": ""}, dict(answer.headers) | {"x-request-id": ""})
        for answer in answers
    ]
    return all(one == told[0] for one in told)


@pytest.mark.bad_input(70, "request_id guessed or counted up", "122 random bits; 404/1190002, the same for all")
def test_request_id_is_random_and_each_wrong_one_is_answered_alike(door: Client, unknown_id: str) -> None:
    ids = {new_request_id() for _ in range(1000)}
    assert len(ids) == 1000
    # Version and variant are fixed, all other bits vary.
    varying = 0
    for id_ in ids:
        varying |= int(id_, 16) ^ int(min(ids), 16)
    assert varying.bit_count() == 122
    answers = [door.get(f"{V1_PATH}/{id_}") for id_ in (unknown_id, "x", "1", "0" * 31, "A" * 32, "%00")]
    assert [answer.json()["code"] for answer in answers] == [1190002] * len(answers)
    assert same_but_for_the_id(answers)


@pytest.mark.bad_input(
    71, "request of another application polled", "404/1190002 as for an unknown one, as late as that; a log line"
)
@pytest.mark.bad_input(118, "request of another application cancelled or tried again", "404/1190002")
@pytest.mark.parametrize(
    ("method", "suffix"), [("GET", ""), ("GET", "/items"), ("POST", ":cancel"), ("POST", ":retry")]
)
def test_another_applications_request_cannot_be_told_from_none(
    guarded: Callable[..., Client], seed: dict[str, Any], redis: "redis_client.Redis", method: str, suffix: str
) -> None:
    door = guarded()
    foreign, unknown = door.post(V1_PATH, seed, headers=MINE).json()["request_id"], new_request_id()
    redis.delete(QUEUE_NAME)

    async def ask_for_both() -> list[httpx2.Response]:
        paths = [f"{V1_PATH}/{id_}{suffix}" for id_ in (foreign, unknown)]
        return await asyncio.gather(*(door.http.request(method, path, headers=THEIRS) for path in paths))

    # No worker has looked for either: both are asked for, and both wait.
    unanswered = door.run(ask_for_both())
    assert unanswered[0].status_code == 503
    assert same_but_for_the_id(unanswered)
    assert redis.llen(QUEUE_NAME) == 2
    # A worker has found neither in PostgreSQL.
    for id_ in (foreign, unknown):
        redis.set(Keys("bksi:").unknown(id_), Note().dump())
    answers = door.run(ask_for_both())
    assert answers[0].status_code == 404
    assert same_but_for_the_id(answers)
    assert door.get(f"{V1_PATH}/{foreign}", headers=MINE).json()["status"] == "PENDING"


def test_poll_of_another_applications_request_leaves_a_line(
    guarded: Callable[..., Client],
    seed: dict[str, Any],
    redis: "redis_client.Redis",
    capsys: pytest.CaptureFixture[str],
) -> None:
    door = guarded()
    foreign = door.post(V1_PATH, seed, headers=MINE).json()["request_id"]
    # A worker has not found it: nobody waits for one.
    redis.set(Keys("bksi:").unknown(foreign), Note().dump())
    door.get(f"{V1_PATH}/{foreign}", headers=THEIRS)
    [line] = [line for line in capsys.readouterr().out.splitlines() if "of another application" in line]
    assert foreign in line
    assert "theirs" in line


def test_another_applications_job_and_cursor_are_worth_nothing(
    guarded: Callable[..., Client], seed: dict[str, Any], unknown_id: str, redis: "redis_client.Redis"
) -> None:
    door = guarded()
    job = door.post("/v1/jobs", seed, headers=MINE).headers["Location"]
    for _ in range(2):
        door.post(V1_PATH, seed, headers=MINE)
    cursor = door.get(f"{V1_PATH}?limit=1", headers=MINE).json()["next_cursor"]

    unknown = f"/v1/jobs/{unknown_id}"
    # A worker has found neither in PostgreSQL.
    redis.set(Keys("bksi:").unknown(job.rpartition("/")[2]), Note().dump())
    assert same_but_for_the_id([door.get(path, headers=THEIRS) for path in (job, unknown)])
    assert door.get(job, headers=MINE).status_code == 200
    stolen = door.get(f"{V1_PATH}?cursor={cursor}", headers=THEIRS)
    assert (stolen.status_code, stolen.json()["errors"][0]["path"]) == (400, "query.cursor")
    changed = f"{V1_PATH}?cursor={cursor[:-2]}{'A' if cursor[-2] != 'A' else 'B'}{cursor[-1]}"
    assert door.get(changed, headers=MINE).status_code == 400


@pytest.mark.bad_input(73, "request_id chosen by the caller, in header or body", "ignored")
def test_request_id_is_never_the_callers(door: Client, seed: dict[str, Any]) -> None:
    chosen = "c" * 32
    headers = {"request_id": chosen, "X-Request-Id": chosen, "X-Bkapi-Request-Id": chosen}
    for path in (V1_PATH, ESB_PATH):
        assert door.post(path, seed | {"request_id": chosen}, headers=headers).json()["request_id"] != chosen


@pytest.mark.bad_input(75, "malformed traceparent", "ignored; a good one goes on to the worker")
@pytest.mark.parametrize(
    ("sent", "goes_on"),
    [
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", True),
        ("00-00000000000000000000000000000000-00f067aa0ba902b7-01", False),
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01", False),
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7", False),
        ("ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", False),
        ("00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01", False),
        ("x" * 5000, False),
    ],
)
def test_traceparent_goes_on_when_it_is_one(
    door: Client, seed: dict[str, Any], redis: "redis_client.Redis", sent: str, goes_on: bool
) -> None:
    accepted = door.post(V1_PATH, seed, headers={"traceparent": sent})
    assert accepted.status_code == 202
    [message] = redis.lrange(QUEUE_NAME, 0, -1)
    assert json.loads(message)["headers"].get("traceparent") == (sent if goes_on else None)
    # Should the message be lost, the next one has it from here.
    kept = redis.hget(f"bksi:req:{accepted.json()['request_id']}", "trace")
    assert kept == (sent.encode() if goes_on else None)


@pytest.mark.bad_input(79, "one idempotency key twice in the same moment", "one request; both get its id")
def test_one_key_many_times_at_once_is_one_request(
    door: Client, seed: dict[str, Any], redis: "redis_client.Redis"
) -> None:
    async def at_once() -> list[httpx2.Response]:
        body = json.dumps(seed)
        headers = {"Content-Type": "application/json", "Idempotency-Key": "once"}
        return await asyncio.gather(*(door.http.post(V1_PATH, content=body, headers=headers) for _ in range(20)))

    answers = door.run(at_once())

    assert len({answer.json()["request_id"] for answer in answers}) == 1
    assert sum("Idempotent-Replayed" not in answer.headers for answer in answers) == 1
    assert redis.llen(QUEUE_NAME) == 1


@pytest.mark.bad_input(80, "idempotency key used again after it has expired", "a new request")
def test_key_that_has_expired_is_free_again(
    open_door: Callable[..., Client], seed: dict[str, Any], redis: "redis_client.Redis"
) -> None:
    door = open_door(idempotency_ttl_s=1)
    first = door.post(V1_PATH, seed, headers={"Idempotency-Key": "k"}).json()["request_id"]
    [name] = redis.keys("bksi:idem:*")
    redis.pexpire(name, 1)
    while redis.exists(name):
        pass
    again = door.post(V1_PATH, seed, headers={"Idempotency-Key": "k"})
    assert again.json()["request_id"] != first
    assert "Idempotent-Replayed" not in again.headers


@pytest.mark.bad_input(88, "forged X-Forwarded-For", "ignored: who is a proxy is told by the connection")
@pytest.mark.parametrize("header", ["X-Forwarded-For", "X-Real-IP", "Forwarded"])
def test_forwarded_address_makes_nobody_a_proxy(
    open_door: Callable[..., Client], seed: dict[str, Any], redis: "redis_client.Redis", header: str
) -> None:
    door = open_door(trusted_proxies=("10.0.0.0/8",), peer="192.0.2.1")
    headers = {header: "for=10.1.2.3" if header == "Forwarded" else "10.1.2.3", "BK_User": "admin"}
    request_id = door.post(V1_PATH, seed, headers=headers).json()["request_id"]
    payload = json.loads(redis.hget(f"bksi:req:{request_id}", "payload"))
    assert payload["caller"]["bk_username"] == ""


@pytest.mark.bad_input(111, "labels of metrics made of what callers send", "fixed sets; the rest is `other`")
def test_metrics_have_no_label_of_a_callers_making(guarded: Callable[..., Client], seed: dict[str, Any]) -> None:
    door = guarded()
    door.post(V1_PATH, seed, headers=MINE)
    for n in range(30):
        made_up = {AUTHORIZATION: json.dumps({"bk_app_code": f"made-up-{n}", "bk_app_secret": "m"})}
        assert door.post(V1_PATH, seed, headers=made_up).status_code == 401
        door.get(f"/made-up-{n}")
        door.get(f"{V1_PATH}/made-up-{n}", headers=MINE)
    text = door.get("/metrics").text
    assert "made-up" not in text
    assert 'app="mine"' in text, "an application that was let in is known"
    assert 'route="other"' in text


@pytest.mark.bad_input(116, "storm of polls", "per-application rate: 429/1199997 with Retry-After")
def test_polls_have_a_rate_of_their_own(guarded: Callable[..., Client], unknown_id: str, seed: dict[str, Any]) -> None:
    door = guarded()
    answers = [door.get(f"{V1_PATH}/{unknown_id}", headers=THEIRS) for _ in range(6)]
    assert [answer.status_code for answer in answers] == [404] * 5 + [429]
    assert int(answers[-1].headers["Retry-After"]) >= 1
    # Submitting is counted apart, and so is everybody else.
    assert door.post(V1_PATH, seed, headers=THEIRS).status_code == 202
    assert door.get(f"{V1_PATH}/{unknown_id}", headers=MINE).status_code == 404


@pytest.mark.bad_input(
    117, "thousands of callers kept waiting", "capped in all and per application; past it, answered at once"
)
def test_open_waits_of_one_application_leave_room_for_others(
    guarded: Callable[..., Client], seed: dict[str, Any]
) -> None:
    door = guarded(max_open_waits_per_app=1)
    mine, theirs = (door.post(V1_PATH, seed, headers=who).headers["Location"] for who in (MINE, THEIRS))

    async def wait() -> tuple[int, int, str]:
        def kept(path: str, who: dict[str, str]) -> asyncio.Task[httpx2.Response]:
            return asyncio.create_task(door.http.get(path, headers={"Prefer": "wait=20", **who}))

        first = kept(mine, MINE)
        while door.door.waits.count < 1:
            await asyncio.sleep(0)
        past_the_cap = await kept(mine, MINE)
        other = kept(theirs, THEIRS)
        while door.door.waits.count < 2:
            await asyncio.sleep(0)
        open_waits = door.door.waits.count
        door.door.waits.drain()
        await asyncio.gather(first, other)
        return past_the_cap.status_code, open_waits, past_the_cap.json()["status"]

    assert door.run(wait()) == (200, 2, "PENDING")


@pytest.mark.bad_input(74, "X-Request-Id with line breaks, escapes, 5 KB", "replaced by ours; never in a log as sent")
@pytest.mark.parametrize("sent", [b"a\x1b[31mb", b"a b", b"\xff", b"x" * 5000, b"a\tb", b"<script>"])
def test_correlation_id_that_is_none_reaches_neither_answer_nor_log(
    door: Client, capsys: pytest.CaptureFixture[str], sent: bytes
) -> None:
    answer = door.call("GET", f"{V1_PATH}/x", headers={"X-Request-Id": sent})
    assert answer.headers["X-Request-Id"] == answer.json()["request_id"]
    logged = capsys.readouterr().out
    assert answer.json()["request_id"] in logged
    assert sent.decode("latin-1") not in logged


def test_what_a_caller_names_itself_forges_no_line_of_the_log(
    open_door: Callable[..., Client], capsys: pytest.CaptureFixture[str]
) -> None:
    header = {"X-Bkapi-Authorization": json.dumps({"bk_app_code": "a\nforged line", "bk_username": "b\rforged"})}
    answer = open_door().post(V1_PATH, {"bk_biz_id": 1}, headers=header)
    assert answer.status_code == 400
    assert not any(line.startswith("forged") for line in capsys.readouterr().out.splitlines())


def test_message_says_nothing_of_the_payload(door: Client, seed: dict[str, Any], redis: "redis_client.Redis") -> None:
    request_id = door.post(V1_PATH, seed).json()["request_id"]
    [message] = redis.lrange(QUEUE_NAME, 0, -1)
    document = json.loads(message)
    assert json.loads(base64.b64decode(document["body"]))[:2] == [[], {"request_id": request_id}]
    assert document["headers"]["argsrepr"] == "biz=1 module=60 instances=1"


AUTHORIZATION = "X-Bkapi-Authorization"
UNREADABLE = b"\xff"


@pytest.mark.bad_input(86, "who is not known, with a large body", "401/1306401 before a byte of it is read")
def test_credentials_of_the_head_are_checked_before_the_body(guarded: Callable[..., Client]) -> None:
    door = guarded()
    wrong = {AUTHORIZATION: json.dumps({"bk_app_code": "mine", "bk_app_secret": "wrong"})}
    for path in (V1_PATH, "/v1/jobs", f"{V1_PATH}:validate"):
        assert door.post(path, UNREADABLE, headers=wrong).status_code == 401
        assert door.post(path, UNREADABLE, headers=MINE).status_code == 400
    assert door.post(ESB_PATH, UNREADABLE, headers=wrong).json()["code"] == 1306401


@pytest.mark.bad_input(116, "an application past its rate, with a large body", "429/1199997 before it is read")
def test_rate_is_counted_before_the_body_is_read(
    open_door: Callable[..., Client], apps_file: Callable[[str], Path]
) -> None:
    apps = f'[apps.mine]\nsecrets = ["{hash_secret("m")}"]\nbk_biz_ids = "*"\nrate = "1/hour"'
    door = open_door(apps_file=apps_file(apps))
    assert [door.post(V1_PATH, UNREADABLE, headers=MINE).status_code for _ in range(2)] == [400, 429]


def until_held_up(answers: Iterable[httpx2.Response]) -> list[httpx2.Response]:
    """30 answers of 401, a few more where the machine is so slow that time makes up for some, and then 429."""
    seen = []
    for answer in answers:
        seen.append(answer)
        if answer.status_code != 401:
            break
    assert (seen[-1].status_code, len(seen) > 30) == (429, True)
    return seen


@pytest.mark.bad_input(
    86, "more than 30 failures in a minute from one address", "429/1199997; with credentials in the body, unread"
)
def test_failed_callers_are_limited_by_address(guarded: Callable[..., Client], seed: dict[str, Any]) -> None:
    there, elsewhere = guarded(peer="192.0.2.1"), {"peer": "192.0.2.2"}
    wrong = seed | {"bk_app_code": "mine", "bk_app_secret": "wrong"}
    answers = until_held_up(there.post(V1_PATH, wrong) for _ in range(60))
    assert int(answers[-1].headers["Retry-After"]) >= 1
    assert there.post(V1_PATH, UNREADABLE).status_code == 429
    # Nobody is held up whose credentials are in the header, and nobody elsewhere.
    assert there.post(V1_PATH, seed, headers=MINE).status_code == 202
    assert guarded(**elsewhere).post(V1_PATH, wrong).status_code == 401


def test_failures_count_for_whom_a_trusted_proxy_forwards(guarded: Callable[..., Client], seed: dict[str, Any]) -> None:
    door = guarded(peer="10.0.0.1", trusted_proxies=("10.0.0.0/8",))
    wrong = {AUTHORIZATION: json.dumps({"bk_app_code": "mine", "bk_app_secret": "wrong"})}

    def send(forwarded: str) -> httpx2.Response:
        return door.post(V1_PATH, seed, headers={**wrong, "X-Forwarded-For": forwarded})

    assert {send(f"1.1.1.1, 192.0.2.{n}, 10.9.9.9").status_code for n in range(40)} == {401}
    # The last hop that is no proxy counts, whatever stands before it; of IPv6 the network.
    until_held_up(send(f"203.0.113.{n}, 192.0.2.99") for n in range(60))
    until_held_up(send(f"2001:db8::{n:x}") for n in range(60))
