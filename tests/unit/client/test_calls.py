"""What the client makes of an answer, and when it comes again."""

import itertools
import json
import logging
import ssl
from typing import Any

import httpx2
import pytest

from bksi_client import BksiError, Client, RequestRefused, TimedOut, Unanswered, calls
from tests.unit.client.scripted import Scripted, report, response

URL = "http://server"
ACCEPTED = response(202, report("PENDING"))
BATCH: Any = {"bk_biz_id": 1, "bk_module_id": 60, "instances": [{"bk_host_id": 2}]}


def client(server: Scripted, **options: Any) -> Client:
    return Client(URL, http_client=server.http, **options)


@pytest.mark.parametrize(
    "busy",
    [
        response(429, {"code": 1199997}, Retry_After="0"),
        response(503, {"code": 1190006}, Retry_After="0"),
        response(502, Retry_After="0"),
        httpx2.ConnectError("refused"),
        httpx2.ReadTimeout("silent"),
    ],
    ids=str,
)
def test_call_is_repeated_under_its_key_until_it_is_answered(busy: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "bksi_client")
    server = Scripted(busy, busy, ACCEPTED)

    operation = client(server).submit(BATCH)

    keys = {request.headers["Idempotency-Key"] for request in server.asked}
    assert (len(server.asked), keys) == (3, {operation.idempotency_key})
    assert {record.name for record in caplog.records} == {"bksi_client"}
    assert [record.levelname for record in caplog.records] == ["INFO", "INFO"]


def test_old_call_is_repeated_while_its_envelope_says_busy() -> None:
    busy = response(200, {"code": 1190007}, Retry_After="0")
    server = Scripted(busy, busy, response(200, {"code": 0, "data": [7]}))
    assert client(server).create_service_instance(BATCH)["data"] == [7]
    assert len(server.asked) == 3


@pytest.mark.parametrize("key", ["", "é"])
def test_key_that_is_none_is_left_to_the_server_to_refuse(key: str) -> None:
    server = Scripted(ACCEPTED)
    client(server).submit(BATCH, key)
    assert dict(server.asked[0].headers.raw)[b"Idempotency-Key"] == key.encode()


@pytest.mark.parametrize(
    ("options", "asked"), [({"patience_s": 0}, 1), ({"retries": 0}, 1), ({"retries": 1}, 2), ({"timeout": 0.05}, 1)]
)
def test_repeats_are_set_once_or_for_one_call(options: Any, asked: int) -> None:
    for made in (client(server := Scripted(response(503)), **options), None):
        one = made or client(server := Scripted(response(503))).with_options(**options)
        with pytest.raises(RequestRefused):
            one.submit(BATCH)
        assert len(server.asked) == asked


def test_server_that_asks_for_minutes_is_left_to_the_caller() -> None:
    server = Scripted(response(503, Retry_After="300"))
    with pytest.raises(RequestRefused) as refused:
        client(server).submit(BATCH)
    assert (len(server.asked), refused.value.retry_after) == (1, 300)


def _badly_certified() -> httpx2.ConnectError:
    error = httpx2.ConnectError("certificate verify failed")
    error.__cause__ = ssl.SSLCertVerificationError()
    return error


@pytest.mark.parametrize(
    "hopeless", [_badly_certified(), httpx2.UnsupportedProtocol("x"), httpx2.DecodingError("x")], ids=repr
)
def test_what_cannot_get_better_is_not_repeated(hopeless: Exception) -> None:
    server = Scripted(hopeless)
    with pytest.raises(Unanswered):
        client(server).submit(BATCH)
    assert len(server.asked) == 1


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 410, 422, 500])
def test_refusal_is_final_and_says_all_of_it(status: int) -> None:
    wrong = {"path": "instances[0].bk_host_id", "code": 1199006, "message": "instances[0].bk_host_id is not valid"}
    body = {"result": False, "code": 1199006, "message": wrong["message"], "request_id": "b" * 32, "errors": [wrong]}
    server = Scripted(response(status, body))

    with pytest.raises(RequestRefused) as refused:
        client(server).submit(BATCH, "mine")

    error = refused.value
    assert (error.code, error.message, error.request_id) == (1199006, wrong["message"], "b" * 32)
    assert (error.status_code, error.idempotency_key, error.errors) == (status, "mine", [wrong])
    assert str(error) == f"1199006: {wrong['message']}"
    assert repr(error).startswith(
        "RequestRefused('instances[0].bk_host_id is not valid', code=1199006, request_id='bbb"
    )
    assert len(server.asked) == 1


@pytest.mark.parametrize("content", [b"", b"<html>", b"[]", b"null"])
@pytest.mark.parametrize("status", [200, 501])
def test_answer_without_an_envelope_is_refused_with_its_status(content: bytes, status: int) -> None:
    with pytest.raises(RequestRefused, match=f"HTTP {status}") as refused:
        calls.answer(httpx2.Response(status, content=content), "key")
    assert refused.value.idempotency_key == "key"


@pytest.mark.parametrize("url", ["127.0.0.1:8080", "ftp://host", "http://", "http://host:0", "http://host:port", "x"])
def test_url_that_cannot_be_called_is_refused_at_once_and_named(url: str) -> None:
    with pytest.raises(ValueError, match="the url") as refused:
        Client(url)
    assert url in str(refused.value)


def test_password_in_a_url_is_shown_nowhere() -> None:
    with pytest.raises(ValueError, match="must begin") as refused:
        Client("ftp://me:hidden@host")
    assert "hidden" not in str(refused.value)
    assert "hidden" not in repr(Client("http://me:hidden@host", bk_app_secret="hidden"))


def test_identity_language_and_headers_come_from_the_environment_or_the_arguments(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(ValueError, match="BKSI_URL"):
        Client()
    for name, value in (("URL", URL), ("APP_CODE", "mine"), ("APP_SECRET", "s"), ("LANGUAGE", "zh-cn")):
        monkeypatch.setenv(f"BKSI_{name}", value)
    server = Scripted(ACCEPTED)
    one = Client(http_client=server.http, headers={"traceparent": "00-1"})
    one.submit(BATCH)
    one.with_options(language="en", bk_username="admin").submit(BATCH)

    first, second = (request.headers for request in server.asked)
    assert json.loads(first["X-Bkapi-Authorization"]) == {"bk_app_code": "mine", "bk_app_secret": "s"}
    assert json.loads(second["X-Bkapi-Authorization"])["bk_username"] == "admin"
    assert (first["blueking-language"], second["blueking-language"]) == ("zh-cn", "en")
    assert first["traceparent"] == "00-1"
    assert first["User-Agent"].startswith("bksi-client/")
    assert repr(one) == "<Client http://server as mine>"


def test_own_http_client_stays_open_and_any_call_can_be_made() -> None:
    server = Scripted(response(404, {"code": 1190002}, X_Thing="1"))
    http = server.http
    with Client(URL, http_client=http) as one:
        answer = one.request("GET", "/v1/batches/x", params={"a": "b"})
    assert (answer.status_code, answer.headers["X-Thing"]) == (404, "1")
    assert str(server.asked[0].url) == "http://server/v1/batches/x?a=b"
    assert not http.is_closed


def test_operation_has_the_answer_it_was_made_of() -> None:
    server = Scripted(response(202, report("PENDING"), X_Request_Id="mine"))
    operation = client(server).submit(BATCH)
    assert operation.response is not None
    assert (operation.response.status_code, operation.response.headers["X-Request-Id"]) == (202, "mine")


def test_many_are_sent_as_they_are_asked_for_and_a_refused_part_says_where_it_stands() -> None:
    path = "instances[3].bk_host_id"
    refusal = {
        "code": 1199006,
        "message": f"{path} is not valid",
        "errors": [{"path": path, "code": 1, "message": path}],
    }
    server = Scripted(ACCEPTED, ACCEPTED, response(400, refusal))
    taken = itertools.count()
    instances = ({"bk_host_id": next(taken)} for _ in range(1000))

    many = client(server).submit_many({"bk_biz_id": 1, "bk_module_id": 60, "instances": instances}, "order")
    assert server.asked == []
    accepted = [next(many)]
    assert (len(server.asked), next(taken)) == (1, 100)
    with pytest.raises(RequestRefused) as refused:
        accepted.extend(many)

    assert [operation.idempotency_key for operation in accepted] == ["order", "order.1"]
    assert (refused.value.first_index, refused.value.idempotency_key) == (200, "order.2")
    assert refused.value.errors[0]["path"] == "instances[203].bk_host_id"
    assert "instances[203].bk_host_id" in str(refused.value)


def test_timed_out_call_is_unanswered_and_a_time_out() -> None:
    with pytest.raises(TimeoutError) as late:
        client(Scripted(httpx2.ReadTimeout("silent")), timeout=0.05).submit(BATCH, "mine")
    assert isinstance(late.value, TimedOut | BksiError)
    assert (late.value.idempotency_key, isinstance(late.value, ConnectionError)) == ("mine", True)


def test_job_is_sent_as_lines_again_from_a_list_and_once_from_an_iterator() -> None:
    batch: Any = {"bk_biz_id": 1, "bk_module_id": 60, "instances": [{"bk_host_id": host} for host in (2, 3)]}
    accepted = response(202, {"job_id": "c" * 32})
    server = Scripted(response(503), accepted)
    job = client(server).jobs.submit(batch, "mine")
    assert (job.id, job.idempotency_key) == ("c" * 32, "mine")
    lines = [json.loads(line) for line in server.asked[1].read().splitlines()]
    assert lines == [{"bk_biz_id": 1, "bk_module_id": 60}, {"bk_host_id": 2}, {"bk_host_id": 3}]
    assert server.asked[1].headers["Content-Type"] == "application/x-ndjson"

    server = Scripted(response(503), accepted)
    with pytest.raises(RequestRefused) as refused:
        client(server).jobs.submit(batch | {"instances": iter(batch["instances"])})
    assert (len(server.asked), refused.value.idempotency_key is not None) == (1, True)


def test_what_a_batch_leaves_out_is_named_by_the_server() -> None:
    missing = response(400, {"code": 1199010, "message": "instances is required", "errors": []})
    server = Scripted(missing)
    nothing: Any = {}
    for submit in (
        lambda: client(server).submit(nothing),
        lambda: client(server).validate(nothing),
        lambda: client(server).jobs.submit(nothing),
        lambda: list(client(server).submit_many(nothing)),
    ):
        with pytest.raises(RequestRefused, match="instances is required"):
            submit()
    bodies = [request.read() for request in server.asked]
    assert bodies == [b'{"instances":[]}', b'{"instances":[]}', b"{}\n", b'{"instances":[]}']
