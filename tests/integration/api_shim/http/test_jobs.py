"""Jobs at the door: cut into batches as they arrive, counted, interrupted, carried on. No worker runs here."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest
import redis as redis_client

from api_shim.http.stream import NDJSON
from api_shim.identity.applications import hash_secret
from contract.answer.job import Job, JobStatus
from contract.answer.report import Report
from contract.answer.status import Item, Outcome, Problem, failed_item
from contract.codes import Code, Refused
from contract.redis.jobs import JobStore
from tests.integration.api_shim.http.door_client import Client

JSON = {"Content-Type": "application/json"}
REFUSED_BY_CMDB = Problem(code=Code.NOT_DELIVERED, message_args=(1110056, "not in the module"))
HEAD: dict[str, Any] = {"bk_biz_id": 1, "bk_module_id": 60}


def _job(count: int, **changes: Any) -> dict[str, Any]:
    return {**HEAD, "instances": [{"bk_host_id": n} for n in range(1, count + 1)], **changes}


def _lines(count: int, **head: Any) -> bytes:
    documents = [{**HEAD, **head}, *({"bk_host_id": n} for n in range(1, count + 1))]
    return b"".join(json.dumps(document).encode() + b"\n" for document in documents)


def _stream(door: Client, body: bytes, key: str = "k", **headers: str) -> httpx2.Response:
    return door.post("/v1/jobs", body, headers={"Content-Type": NDJSON, "Idempotency-Key": key, **headers})


def _batches(door: Client, job: dict[str, Any]) -> list[dict[str, Any]]:
    batches: list[dict[str, Any]] = door.get(job["links"]["batches"]).json()["batches"]
    return batches


def _finish(door: Client, request_id: str, code: Code | None = None) -> None:
    """End a batch as a worker does, with all its instances failed, or without rows."""
    requests = door.door.submitter.requests

    async def finish() -> None:
        pending = await requests.load(request_id)
        assert pending is not None
        about = pending.model_dump(include={"request_id", "bk_app_code", "bk_biz_id", "bk_module_id", "created_at"})
        count = pending.statistics.total_count
        report = Report.failed(Refused(code or Code.MODULE_NOT_FOUND), range(count), **about, job=pending.job)
        await requests.publish(report)

    door.run(finish())


@pytest.mark.parametrize("content_type", ["application/json", NDJSON])
def test_job_is_cut_into_batches_of_a_hundred(door: Client, content_type: str) -> None:
    body = json.dumps(_job(251)).encode() if content_type != NDJSON else _lines(251)
    accepted = door.post("/v1/jobs", body, headers={"Content-Type": content_type})
    assert (accepted.status_code, accepted.headers["Location"]) == (202, f"/v1/jobs/{accepted.json()['job_id']}")

    job = door.get(accepted.headers["Location"]).json()
    assert (job["result"], job["code"], job["status"]) == (False, 1190001, "PENDING")
    assert (job["accepted_count"], job["statistics"]["pending_count"]) == (251, 251)
    assert [batch["statistics"]["total_count"] for batch in _batches(door, job)] == [100, 100, 51]
    one = door.get(f"/v1/batches/{_batches(door, job)[2]['request_id']}").json()
    assert one["job_id"] == job["job_id"]
    assert [listed["job_id"] for listed in door.get("/v1/jobs").json()["jobs"]] == [job["job_id"]]
    assert door.get("/v1/batches").json()["batches"] == []


def test_job_with_one_bad_instance_is_refused_whole(door: Client, redis: "redis_client.Redis") -> None:
    body = _job(150)
    body["instances"][120]["bk_host_id"] = "x"
    answer = door.post("/v1/jobs", body)

    assert (answer.status_code, answer.json()["code"]) == (400, 1199009)
    [error] = answer.json()["errors"]
    assert error["path"] == "instances[120].bk_host_id"
    assert "instances[120].bk_host_id" in error["message"]
    assert redis.keys() == []


def test_stream_with_a_bad_instance_is_interrupted_and_goes_on_once_it_is_mended(door: Client) -> None:
    lines = _lines(350).splitlines(keepends=True)
    lines[321] = b'{"bk_host_id": "x"}\n'
    refused = _stream(door, b"".join(lines))
    assert (refused.status_code, refused.json()["errors"][0]["path"]) == (400, "instances[320].bk_host_id")

    job = door.get(refused.headers["Location"]).json()
    assert (job["status"], job["result"], job["code"]) == ("INTERRUPTED", False, 1190015)
    assert job["accepted_count"] == 200
    before = _batches(door, job)

    whole = _stream(door, _lines(350))
    assert (whole.status_code, whole.json()["job_id"]) == (202, job["job_id"])
    after = _batches(door, job)
    assert ([batch["statistics"]["total_count"] for batch in after], after[:2]) == ([100, 100, 100, 50], before)
    again = _stream(door, _lines(350))
    assert (again.status_code, again.headers["Idempotent-Replayed"]) == (202, "true")
    assert _batches(door, job) == after


@pytest.mark.parametrize("count", [349, 351, 100, 450])
def test_job_under_the_same_key_is_the_same_job_or_a_conflict(door: Client, count: int) -> None:
    assert _stream(door, _lines(350)).status_code == 202
    other = _stream(door, _lines(count))
    assert (other.status_code, other.json()["code"]) == (422, 1190004)
    job = door.get(other.headers["Location"]).json()
    assert (job["accepted_count"], job["status"]) == (350, "PENDING")


def test_another_head_under_the_same_key_is_a_conflict(door: Client) -> None:
    assert _stream(door, _lines(101)).status_code == 202
    assert _stream(door, _lines(101, mode="partial")).status_code == 422


def test_job_of_more_than_four_mebibytes_of_json(door: Client) -> None:
    head = json.dumps(HEAD)[1:-1]
    row = json.dumps({"bk_host_id": 7, "note": "é" * 1_000}, ensure_ascii=False)
    text = f'{{{head}, "instances" : [\n{",".join([row] * 2_500)} ] \n}} '
    accepted = door.call("POST", "/v1/jobs", content=_pieces(text.encode(), 65_521), headers=JSON)
    assert (accepted.status_code, accepted.json()["accepted_count"]) == (202, 2_500)

    wrong = text.replace("] \n}", '], "mode": "partial"}')
    refused = door.call("POST", "/v1/jobs", content=_pieces(wrong.encode(), 65_521), headers=JSON)
    assert (refused.status_code, refused.json()["code"]) == (400, 1199000)
    assert "nothing may follow on instances" in refused.json()["errors"][0]["reason"]


@pytest.mark.parametrize("content_type", ["application/json", NDJSON])
def test_batch_of_long_instances_is_no_longer_than_a_body_may_be(door: Client, content_type: str) -> None:
    row = {"note": ["é" * 32_500] * 16}  # a mebibyte of UTF-8
    rows = [{"bk_host_id": host, **row} for host in range(1, 11)]
    if content_type == NDJSON:
        body = b"".join(json.dumps(document, ensure_ascii=False).encode() + b"\n" for document in (HEAD, *rows))
    else:
        body = json.dumps({**HEAD, "instances": rows}, ensure_ascii=False).encode()
    job = door.post("/v1/jobs", body, headers={"Content-Type": content_type}).json()
    assert [batch["statistics"]["total_count"] for batch in _batches(door, job)] == [4, 4, 2]


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        (lambda text: text[:-2], 400),
        (lambda text: text + "x", 400),
        (lambda text: text + " \n" * 50_000 + "x", 400),
        (lambda text: text.encode() + b"\xc3", 400),
        (lambda text: "{" + f'"note": {json.dumps(["x" * 65_000] * 70)},' + text[1:], 413),
        (lambda text: text.replace("[", "[,", 1), 400),
        (lambda text: text.replace('"note"', '"bk_host_id"', 1), 400),
        (lambda text: text.replace("7", "NaN", 1), 400),
    ],
)
def test_long_json_that_is_not_strict(door: Client, changed: Callable[[str], str | bytes], status: int) -> None:
    row = json.dumps({"bk_host_id": 7, "note": "e" * 2_000})
    text = f'{json.dumps(HEAD)[:-1]}, "instances": [{",".join([row] * 2_500)}]}}'
    body = changed(text)
    answer = door.post("/v1/jobs", body if isinstance(body, bytes) else body.encode())
    assert answer.status_code == status


def test_second_upload_under_a_key_takes_over(door: Client) -> None:
    """Who lost his connection need not wait until the server has noticed."""
    answers: list[httpx2.Response] = []
    lines = _lines(450).splitlines(keepends=True)

    async def overtaken() -> AsyncIterator[bytes]:
        yield b"".join(lines[:301])
        headers = {"Content-Type": NDJSON, "Idempotency-Key": "k"}
        answers.append(await door.http.post("/v1/jobs", content=b"".join(lines), headers=headers))
        yield b"".join(lines[301:])

    headers = {"Content-Type": NDJSON, "Idempotency-Key": "k"}
    first = door.call("POST", "/v1/jobs", content=overtaken(), headers=headers)
    assert (first.status_code, first.json()["code"]) == (409, 1190015)
    assert answers[0].status_code == 202
    assert answers[0].json()["job_id"] == first.json()["request_id"]
    assert [batch["statistics"]["total_count"] for batch in _batches(door, answers[0].json())] == [100] * 4 + [50]


def test_job_tells_the_truth_at_every_moment(door: Client) -> None:
    job = _stream(door, _lines(250)).json()
    ids = [batch["request_id"] for batch in _batches(door, job)]
    path = job["links"]["self"]
    _finish(door, ids[1])
    half = door.get(path).json()
    assert (half["status"], half["result"], half["code"]) == ("RUNNING", False, 1190001)
    assert half["statistics"] == {
        "total_count": 250,
        "success_count": 0,
        "failed_count": 100,
        "pending_count": 150,
        "running_count": 0,
    }
    _finish(door, ids[1])  # published again, as after a worker's death
    for request_id in ids:
        _finish(door, request_id)
    whole = door.get(path, headers={"Prefer": "wait=5"}).json()
    assert (whole["status"], whole["result"], whole["code"]) == ("FAILED", False, 1101034)
    assert whole["outcomes"] == {"created": 0, "existing": 0, "healed": 0, "failed": 250, "skipped": 0}
    assert whole["finished_at"]
    tag = door.get(path).headers["ETag"]
    assert door.get(path, headers={"If-None-Match": tag}).status_code == 304


def test_items_of_a_job_are_paged_or_streamed(door: Client) -> None:
    job = _stream(door, _lines(250)).json()
    ids = [batch["request_id"] for batch in _batches(door, job)]
    for request_id in (ids[0], ids[2]):
        _finish(door, request_id)
    path = f"{job['links']['items']}?outcome=failed"
    streamed = door.get(path, headers={"Accept": NDJSON})
    assert streamed.headers["content-type"].startswith(NDJSON)
    items = [json.loads(line) for line in streamed.text.splitlines()]
    assert [item["index"] for item in items] == [*range(100), *range(200, 250)]
    paged: list[dict[str, Any]] = []
    cursor = ""
    while cursor is not None:
        page = door.get(f"{path}&limit=60&cursor={cursor}").json()
        paged += page["items"]
        cursor = page["next_cursor"]
    assert paged == items
    assert door.get(f"{job['links']['items']}?outcome=created").json()["items"] == []
    assert door.get(f"{job['links']['items']}?limit=0").status_code == 400


def test_stream_that_cannot_begin_says_why(door: Client, redis: "redis_client.Redis") -> None:
    job = _stream(door, _lines(1)).json()
    redis.acl_setuser("default", enabled=True, commands=["-lrange"])  # the job is found, its batches are not
    try:
        answer = door.get(job["links"]["items"], headers={"Accept": NDJSON})
    finally:
        redis.acl_setuser("default", enabled=True, commands=["+lrange"])
    assert (answer.status_code, answer.json()["code"]) == (503, 1190007)
    assert door.get(job["links"]["items"], headers={"Accept": NDJSON}).text == ""


def test_stream_that_redis_breaks_off_is_no_bug_of_ours(
    open_door: Callable[..., Client], redis: "redis_client.Redis", capsys: pytest.CaptureFixture[str]
) -> None:
    door = open_door(max_job_batches=100)
    job = _stream(door, _lines(5_001)).json()  # more batches than are read at once
    _finish(door, _batches(door, job)[0]["request_id"])
    sent: list[bytes] = []

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body":
            sent.append(message.get("body", b""))
            redis.acl_setuser("default", enabled=True, commands=["-lrange"])

    try:
        door.run(door.raw("GET", job["links"]["items"], {"Accept": NDJSON}, send))
    finally:
        redis.acl_setuser("default", enabled=True, commands=["+lrange"])
    assert len(sent) == 100
    assert sent[-1], "the end is not said, so that nobody takes this for all"
    logged = capsys.readouterr().out
    assert "bug" not in logged
    [broken] = [line for line in logged.splitlines() if "answer broken off" in line]
    assert all(told in broken for told in (job["job_id"], "1190007", "/v1/jobs/{job_id}/items"))


def test_job_that_is_forgotten_hides_none_of_the_older_ones(door: Client, redis: "redis_client.Redis") -> None:
    ids = [_stream(door, _lines(1), key).json()["job_id"] for key in "abc"]
    redis.delete(door.door.submitter.requests.keys.job(ids[1]))
    found, cursor = [], ""
    while cursor is not None:
        page = door.get(f"/v1/jobs?limit=1&cursor={cursor}").json()
        found, cursor = [*found, *(job["job_id"] for job in page["jobs"])], page["next_cursor"]
    assert found == [ids[2], ids[0]]


def test_last_page_says_that_it_is_the_last_even_when_it_is_full(door: Client) -> None:
    _stream(door, _lines(1), "a")
    batches = _stream(door, _lines(200), "b").json()["links"]["batches"]
    for path, name in (("/v1/jobs", "jobs"), (batches, "batches")):
        first = door.get(f"{path}?limit=1").json()
        second = door.get(f"{path}?limit=1&cursor={first['next_cursor']}").json()
        both = door.get(f"{path}?limit=2").json()
        assert [*first[name], *second[name]] == both[name]
        assert second["next_cursor"] is both["next_cursor"] is None


def test_pages_of_jobs_go_on_where_they_were_while_others_come(door: Client, redis: "redis_client.Redis") -> None:
    ids = [_stream(door, _lines(1), key).json()["job_id"] for key in "abc"]
    first = door.get("/v1/jobs?limit=1").json()
    assert [job["job_id"] for job in first["jobs"]] == [ids[2]]

    _stream(door, _lines(1), "d")
    redis.zrem(door.door.submitter.requests.keys.jobs_of_app(""), ids[0])  # and the oldest goes
    rest = door.get(f"/v1/jobs?cursor={first['next_cursor']}").json()
    assert [job["job_id"] for job in rest["jobs"]] == [ids[1]]
    redis.zrem(door.door.submitter.requests.keys.jobs_of_app(""), ids[2])
    assert door.get(f"/v1/jobs?cursor={first['next_cursor']}").json()["jobs"] == [], "what followed is older still"


def test_cancelled_job_begins_nothing_more(door: Client) -> None:
    job = _stream(door, _lines(250)).json()
    ids = [batch["request_id"] for batch in _batches(door, job)]
    _finish(door, ids[0])
    cancelled = door.post(f"{job['links']['self']}:cancel", b"").json()
    assert (cancelled["status"], cancelled["code"]) == ("TERMINATED", 1190008)
    assert cancelled["outcomes"] == {"created": 0, "existing": 0, "healed": 0, "failed": 100, "skipped": 150}
    assert door.post(f"{job['links']['self']}:cancel", b"").json()["status"] == "TERMINATED"
    again = _stream(door, _lines(250))
    assert (again.status_code, again.json()["code"]) == (409, 1190008)
    assert len(door.get(f"{job['links']['items']}?outcome=skipped&limit=500").json()["items"]) == 150


def test_upload_ends_when_its_job_is_cancelled(door: Client) -> None:
    lines = _lines(450).splitlines(keepends=True)

    async def cancelled() -> AsyncIterator[bytes]:
        yield b"".join(lines[:301])
        [job] = (await door.http.get("/v1/jobs")).json()["jobs"]
        await door.http.post(f"{job['links']['self']}:cancel")
        yield b"".join(lines[301:])

    answer = door.call("POST", "/v1/jobs", content=cancelled(), headers={"Content-Type": NDJSON})
    assert (answer.status_code, answer.json()["code"]) == (409, 1190008)
    assert door.get(answer.headers["Location"]).json()["status"] == "TERMINATED"


def test_what_failed_of_a_job_can_be_tried_again_as_a_new_one(door: Client) -> None:
    job = _stream(door, _lines(250)).json()
    retry = f"{job['links']['self']}:retry"
    unfinished = door.post(retry, b"")
    assert (unfinished.status_code, unfinished.json()["status"]) == (409, "PENDING")
    for batch in _batches(door, job):
        _finish(door, batch["request_id"])
    first, second = (door.post(retry, b"") for _ in range(2))
    assert first.status_code == second.status_code == 202
    assert first.json()["job_id"] == second.json()["job_id"] != job["job_id"]
    assert (first.json()["accepted_count"], first.json()["batch_count"]) == (250, 3)


def _create(door: Client, request_id: str, failed: int = 0) -> None:
    """End a batch as workers do beside a CMDB, which is still to have its rows; its first `failed` have none."""
    requests = door.door.submitter.requests

    async def end() -> None:
        known = await requests.load(request_id)
        assert known is not None
        about = known.model_dump(include={"request_id", "bk_app_code", "bk_biz_id", "bk_module_id", "created_at"})
        items = [failed_item(index, index + 1, Refused(Code.HOST_NOT_IN_MODULE)) for index in range(failed)]
        items += [
            Item(index=index, bk_host_id=index + 1, outcome=Outcome.CREATED, service_instance_id=index + 1)
            for index in range(failed, known.statistics.total_count)
        ]
        await requests.publish(Report.settled(items, **about, job=known.job).to_deliver(is_awaited=False))

    door.run(end())


def _deliver(door: Client, request_id: str, problem: Problem | None = None, *, is_marked: bool = True) -> None:
    """CMDB takes the rows of a batch, or with a `problem` refuses them; a worker may die before it is marked."""
    requests = door.door.submitter.requests

    async def end() -> None:
        here, now = await requests.load(request_id), datetime.now(tz=UTC)
        assert here is not None
        ended = here.delivered({}, {}, problem=problem, finished_at=now, expires_at=now)
        await requests.publish(ended)
        if is_marked:
            await JobStore(requests).mark(ended)

    door.run(end())


def _refuse(door: Client, request_id: str) -> None:
    _create(door, request_id)
    _deliver(door, request_id, REFUSED_BY_CMDB)


def test_what_cmdb_has_refused_of_a_job_can_be_tried_again_as_of_a_request(door: Client) -> None:
    job = _stream(door, _lines(250)).json()
    first, second, third = (batch["request_id"] for batch in _batches(door, job))
    retry = f"{job['links']['self']}:retry"
    _refuse(door, first)
    _create(door, second)
    _deliver(door, second)
    _refuse(door, third)
    assert door.get(job["links"]["self"]).json()["status"] == "SUCCESS", "its rows are here"
    assert ":retry" in door.get(job["links"]["self"], headers={"Accept": "text/html"}).text
    again, repeated = (door.post(retry, b"").json() for _ in range(2))
    assert (again["accepted_count"], again["job_id"]) == (150, repeated["job_id"])

    _deliver(door, third)  # CMDB takes it meanwhile
    assert door.post(retry, b"").json()["accepted_count"] == 100
    _deliver(door, first)
    done = door.post(retry, b"")
    assert (done.status_code, done.json()["status"]) == (409, "SUCCESS")
    assert ":retry" not in door.get(job["links"]["self"], headers={"Accept": "text/html"}).text


def test_batch_that_cmdb_has_taken_does_not_keep_the_others_from_being_tried_again(door: Client) -> None:
    job = _stream(door, _lines(150)).json()
    taken, refused = (batch["request_id"] for batch in _batches(door, job))
    _refuse(door, taken)
    _refuse(door, refused)
    _deliver(door, taken, is_marked=False)  # so that what it asked for is not kept any more
    assert door.post(f"{job['links']['self']}:retry", b"").json()["accepted_count"] == 50


def test_what_cmdb_refuses_after_a_retry_is_another_retry(door: Client) -> None:
    job = _stream(door, _lines(10, mode="partial")).json()
    retry, [batch] = f"{job['links']['self']}:retry", _batches(door, job)
    _create(door, batch["request_id"], failed=3)
    first = door.post(retry, b"").json()
    _deliver(door, batch["request_id"], REFUSED_BY_CMDB)
    second = door.post(retry, b"")
    assert (first["accepted_count"], second.status_code, second.json()["accepted_count"]) == (3, 202, 10)


def test_retry_of_a_job_clones_nothing_once_more(door: Client) -> None:
    job = _stream(door, _lines(150, bk_module_id=61, on_existing="clone")).json()
    failed, refused = (batch["request_id"] for batch in _batches(door, job))
    _refuse(door, refused)
    _finish(door, failed)
    again = door.post(f"{job['links']['self']}:retry", b"").json()
    assert again["accepted_count"] == 100
    [batch] = _batches(door, again)
    _refuse(door, batch["request_id"])
    assert door.post(f"{again['links']['self']}:retry", b"").status_code == 409
    for path in (again["links"]["self"], f"/v1/batches/{batch['request_id']}"):
        assert ":retry" not in door.get(path, headers={"Accept": "text/html"}).text, "nor is it offered"


def test_clones_that_failed_are_tried_again_beside_those_that_cmdb_has_refused(door: Client) -> None:
    job = _stream(door, _lines(10, bk_module_id=61, on_existing="clone", mode="partial")).json()
    retry, [batch] = f"{job['links']['self']}:retry", _batches(door, job)
    _create(door, batch["request_id"], failed=3)
    first = door.post(retry, b"").json()
    _deliver(door, batch["request_id"], REFUSED_BY_CMDB)
    again = door.post(retry, b"").json()
    assert (first["accepted_count"], again["job_id"]) == (3, first["job_id"]), "or they would be cloned twice"


def test_upload_is_held_back_to_what_may_be_unfinished(open_door: Callable[..., Client]) -> None:
    door = open_door(max_job_batches=2)

    async def call() -> httpx2.Response:
        upload = asyncio.create_task(door.http.post("/v1/jobs", content=_lines(450), headers={"Content-Type": NDJSON}))
        requests = door.door.submitter.requests
        for finished in range(3):
            while not (jobs := (await door.door.jobs.recent("", None, 1))[0]) or (jobs[0].batches < finished + 2):
                await asyncio.sleep(0.01)
            assert jobs[0].batches == finished + 2
            batches = await door.door.jobs.batches(jobs[0], finished, 1)
            pending = batches[0][1]
            assert pending is not None
            about = pending.model_dump(include={"request_id", "bk_app_code", "bk_biz_id", "bk_module_id", "created_at"})
            await requests.publish(Report.failed(Refused(Code.MODULE_NOT_FOUND), range(100), **about, job=pending.job))
        return await upload

    assert door.run(call()).json()["accepted_count"] == 450


def test_upload_beyond_those_that_may_be_open_is_told_to_come_again(open_door: Callable[..., Client]) -> None:
    door = open_door(max_open_uploads=1)

    async def call() -> tuple[httpx2.Response, httpx2.Response, httpx2.Response]:
        begun, going_on = asyncio.Event(), asyncio.Event()

        async def slow() -> AsyncIterator[bytes]:
            yield _lines(1)
            begun.set()
            await going_on.wait()

        async def upload(body: Any) -> httpx2.Response:
            return await door.http.post("/v1/jobs", content=body, headers={"Content-Type": NDJSON})

        first = asyncio.create_task(upload(slow()))
        await begun.wait()
        refused = await upload(_lines(1))
        going_on.set()
        return await first, refused, await upload(_lines(1))

    first, refused, later = door.run(call())
    assert (first.status_code, later.status_code) == (202, 202)
    assert (refused.status_code, refused.json()["code"], refused.headers["Retry-After"]) == (503, 1190006, "5")


def test_rate_is_charged_for_each_batch_by_holding_the_sender_back(
    open_door: Callable[..., Client], apps_file: Callable[..., Path]
) -> None:
    apps = f'[apps.mine]\nsecrets = ["{hash_secret("s")}"]\nbk_biz_ids = "*"\nrate = "2/hour"'
    door = open_door(apps_file=apps_file(apps))
    identity = json.dumps({"bk_app_code": "mine", "bk_app_secret": "s", "bk_username": "admin"})
    headers = {"Content-Type": NDJSON, "X-Bkapi-Authorization": identity}

    async def call() -> Job:
        upload = asyncio.create_task(door.http.post("/v1/jobs", content=_lines(450), headers=headers))
        while not (jobs := (await door.door.jobs.recent("mine", None, 1))[0]) or jobs[0].batches < 2:
            await asyncio.sleep(0.01)
        upload.cancel()
        await asyncio.gather(upload, return_exceptions=True)
        return (await door.door.jobs.recent("mine", None, 1))[0][0]

    job = door.run(call())
    assert (job.batches, job.status) == (2, JobStatus.INTERRUPTED)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, 1199005),
        (b"\n \n", 400, 1199005),
        (b"[1]\n", 400, 1199006),
        (json.dumps(_job(1)).encode(), 400, 1199006),
        (json.dumps(HEAD).encode(), 400, 1199010),
        (_lines(1) + b"{\n", 400, 1199000),
        (b'{"bk_biz_id": 1}\n{"bk_host_id": 1}\n', 400, 1199010),
        (b"{" + b" " * 70_000 + b"}\n", 413, 1190013),
    ],
)
def test_stream_that_is_no_job(door: Client, redis: "redis_client.Redis", body: bytes, status: int, code: int) -> None:
    answer = _stream(door, body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert redis.keys() == []


def test_job_without_instances_or_unknown_is_refused(door: Client, unknown_id: str) -> None:
    assert door.post("/v1/jobs", _job(0)).json()["code"] == 1199010
    assert door.get(f"/v1/jobs/{unknown_id}").status_code == 404
    assert door.get("/v1/jobs/x").status_code == 404


def test_job_over_the_limit_is_refused_and_interrupted(open_door: Callable[..., Client]) -> None:
    door = open_door(max_job_bytes=10_000)
    answer = door.call("POST", "/v1/jobs", content=_pieces(_lines(900)), headers={"Content-Type": NDJSON})
    assert (answer.status_code, answer.json()["code"]) == (413, 1190013)
    assert door.get(answer.headers["Location"]).json()["status"] == "INTERRUPTED"


async def _pieces(body: bytes, size: int = 4_000) -> AsyncIterator[bytes]:
    for start in range(0, len(body), size):
        yield body[start : start + size]
