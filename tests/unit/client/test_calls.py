"""What the client makes of an answer, and when it comes again."""

import time
from typing import Any

import httpx2
import pytest

from bksi_client import RequestRefused, calls


def response(status: int, body: Any = None, **headers: str) -> httpx2.Response:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx2.Response(status, json=body or {"code": 0}, headers=sent)


@pytest.mark.parametrize(
    ("status", "code"), [(429, 1199997), (503, 1190006), (503, 1190007), (200, 1199997), (200, 1190006), (200, 1190007)]
)
def test_busy_server_is_asked_again_as_late_as_it_says(status: int, code: int) -> None:
    with pytest.raises(calls.Busy) as busy:
        calls.unless_busy(response(status, {"code": code}, Retry_After="7"))
    assert 7 <= calls._again(busy.value) <= 8.4


def test_busy_server_that_names_no_time_is_asked_again_with_growing_pauses() -> None:
    assert calls._again(calls.Busy(response(503))) is True
    assert calls._again(calls.Busy(response(503, Retry_After="Tue, 24 Nov 2026 10:00:00 GMT"))) is True


def test_server_that_asks_for_minutes_is_left_to_the_caller() -> None:
    assert calls._again(calls.Busy(response(503, Retry_After="300"))) is False


@pytest.mark.parametrize("status", [200, 202, 400, 401, 403, 404, 409, 410, 422, 500])
def test_any_other_answer_is_final(status: int) -> None:
    assert calls.unless_busy(response(status)).status_code == status
    assert calls._again(RequestRefused(status, {})) is False


@pytest.mark.parametrize("content", [b"", b"<html>", b"[]", b"null"])
def test_answer_without_an_envelope_is_refused_with_its_status(content: bytes) -> None:
    with pytest.raises(RequestRefused, match="HTTP 502") as refused:
        calls.answer(httpx2.Response(502, content=content), "key")
    assert refused.value.idempotency_key == "key"


def test_pause_keeps_a_server_that_does_not_wait_from_being_asked_in_a_loop() -> None:
    now = time.monotonic()
    waited = calls.Look({"status": "RUNNING"}, now - 20, 20, 5)
    answered_at_once = calls.Look({"status": "RUNNING"}, now, 20, 5)
    assert waited.pause(None) == 0
    assert answered_at_once.pause(None) == 5
    assert 0 <= answered_at_once.pause(now + 2) <= 2
    assert answered_at_once.pause(now - 1) == 0
