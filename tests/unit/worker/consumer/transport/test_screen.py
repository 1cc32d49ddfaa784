"""The guard: what Celery may see, and what is kept of the rest."""

import base64
import json
import time
from typing import Any
from unittest.mock import Mock

import pytest
from celery import Celery
from celery.worker.request import Request
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.worker.consumer.transport.messages import NEWER, UNFIT, raw, wire
from worker.consumer.transport.channel import Message
from worker.consumer.transport.letter import KEPT_OF_DEAD, dead_letter
from worker.consumer.transport.screen import NewerVersion, Screen, Unfit

screen = Screen(["mark.v1", "other.v3"])


def _celery() -> Celery:
    app = Celery("guard", set_as_current=False)

    @app.task(name="mark.v1", shared=False)
    def mark(*args: Any, **kwargs: Any) -> None:
        """Nothing."""

    app.finalize()
    return app


celery = _celery()


def test_good_message_passes_unchanged() -> None:
    message = wire(args=[1, "zwei"])
    fit = screen.check(raw(message))
    assert fit.pop("decoded") == [[1, "zwei"], {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}]
    assert fit == message


@pytest.mark.parametrize("shape", UNFIT.values(), ids=UNFIT.keys())
@pytest.mark.bad_input(90, "a message without an id", "dead letter")
@pytest.mark.bad_input(
    91, "any other shape that Celery does not expect: 80 of them", "dead letter, and the next message runs"
)
@pytest.mark.bad_input(93, "pickle, yaml, msgpack", "dead letter")
@pytest.mark.bad_input(94, "an unknown or built-in task", "dead letter; its body is not logged")
@pytest.mark.bad_input(96, "a compressed body", "dead letter, never inflated")
def test_unfit_shape_is_refused_without_a_value_in_the_reason(shape: bytes) -> None:
    with pytest.raises(Unfit) as refused:
        screen.check(shape)
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 80


def test_newer_version_of_a_known_task_is_told_apart_from_an_unknown_task() -> None:
    with pytest.raises(NewerVersion):
        screen.check(NEWER)
    with pytest.raises(Unfit):
        screen.check(raw(wire(task="other.v2")))
    with pytest.raises(Unfit):
        screen.check(raw(wire(task="stranger.v9")))


def test_every_name_passes_without_a_list_of_tasks() -> None:
    assert Screen().check(raw(wire(task="anything")))["headers"]["task"] == "anything"


def test_custom_headers_of_a_sender_pass() -> None:
    message = wire()
    message["headers"]["traceparent"] = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    assert screen.check(raw(message))["headers"]["traceparent"]


def test_kombu_types_are_read_as_kombu_reads_them() -> None:
    message = wire(args=[{"__type__": "uuid", "__value__": {"hex": "0" * 32}}])
    assert screen.check(raw(message))["decoded"][0][0].hex == "0" * 32


@pytest.mark.bad_input(95, "eta, expires, timelimit or shadow in a message; 5 KB of argsrepr", "dead letter")
@pytest.mark.parametrize(
    ("name", "value"),
    [("eta", "2036-01-01T00:00:00"), ("shadow", "a"), ("timelimit", [1, 1]), ("argsrepr", "a" * 5_000)],
)
def test_what_would_stay_in_a_worker_or_in_flower_is_refused(name: str, value: Any) -> None:
    message = wire()
    message["headers"][name] = value
    with pytest.raises(Unfit, match=f"headers.{name} is malformed"):
        screen.check(raw(message))


@pytest.mark.bad_input(100, "a message over 2 MB", "dead letter with its beginning")
def test_size_is_that_of_the_whole_message() -> None:
    with pytest.raises(Unfit, match="larger than"):
        screen.check(raw(wire()), size=3_000_000)


def test_dead_letter_keeps_the_message() -> None:
    letter = json.loads(dead_letter(raw(wire()), queue="work", reason="why"))
    assert base64.b64decode(letter.pop("raw")) == raw(wire())
    assert letter.pop("id")
    assert 0 <= time.time() * 1000 - letter.pop("at") < 60_000
    assert letter == {
        "kind": "message",
        "queue": "work",
        "reason": "why",
        "task_id": "8d1a6f0e",
        "size": len(raw(wire())),
        "truncated": False,
    }


SECRET = "CANARY"


@pytest.mark.bad_input(108, "a secret in a message that becomes a dead letter", "emptied; the rest is kept")
@pytest.mark.parametrize("cut", [None, 700])
def test_dead_letter_keeps_no_secret(cut: int | None) -> None:
    batch = {"bk_app_secret": SECRET, "bk_biz_id": 1, "deep": [{"bk_token": f'{SECRET}"{SECRET}'}]}
    message = wire(args=[batch])
    message["headers"] |= {
        "kwargsrepr": repr({"batch": {"access_token": SECRET}}),
        "X-Bkapi-Authorization": json.dumps({"bk_app_code": "a", "bk_app_secret": SECRET}),
    }
    letter = json.loads(dead_letter(raw(message)[:cut], queue="work", reason="why"))
    kept = base64.b64decode(letter["raw"])
    assert SECRET.encode() not in kept
    if cut is None:
        cleaned = json.loads(kept)
        [args, _, _] = json.loads(base64.b64decode(cleaned["body"]))
        assert args == [{"bk_app_secret": "", "bk_biz_id": 1, "deep": [{"bk_token": ""}]}]
        assert json.loads(cleaned["headers"]["X-Bkapi-Authorization"]) == {"bk_app_code": "a", "bk_app_secret": ""}
        assert SECRET.encode() not in base64.b64decode(cleaned["body"])


def test_dead_letter_keeps_the_beginning_of_a_large_message() -> None:
    letter = json.loads(dead_letter(b"x" * 300_000, queue="work", reason="why", size=20_000_000))
    assert len(base64.b64decode(letter["raw"])) == KEPT_OF_DEAD
    assert (letter["size"], letter["truncated"], letter["task_id"]) == (20_000_000, True, None)


@given(st.binary(max_size=400))
def test_any_bytes_are_refused_or_fit(data: bytes) -> None:
    _refused_or_safe(data)


_LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.just("2026-11-24T08:00:00+00:00")
)
_VALUES = st.recursive(
    _LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A good message with up to three values anywhere in it replaced or dropped."""
    message: Any = wire(args=[1])
    content: Any = json.loads(base64.b64decode(message["body"]))
    for _ in range(draw(st.integers(1, 3))):
        node = draw(st.sampled_from([message, message["headers"], message["properties"], content, content[-1:]]))
        if isinstance(node, dict) and node:
            name = draw(st.sampled_from(sorted(node)))
            if name in {"headers", "properties"} and node is message:
                continue
            if draw(st.booleans()):
                node[name] = draw(_VALUES)
            else:
                del node[name]
        elif node:
            node[draw(st.integers(0, len(node) - 1))] = draw(_VALUES)
    if "body" in message and draw(st.booleans()):
        message["body"] = base64.b64encode(json.dumps(content).encode()).decode()
    return json.dumps(message).encode()


@given(mutated())
def test_whatever_passes_makes_a_request_for_celery(data: bytes) -> None:
    _refused_or_safe(data)


def _refused_or_safe(data: bytes) -> None:
    try:
        fit = screen.check(data)
    except (Unfit, NewerVersion):
        return
    fit["properties"]["delivery_tag"] = "1 work"
    channel = Mock(no_ack_consumers=None)
    channel.decode_body = lambda body, encoding: base64.b64decode(body)
    content = fit["decoded"]
    message = Message(fit, channel)
    assert message.decode() == content
    request = Request(message, app=celery, task=celery.tasks["mark.v1"], hostname="h", headers=message.headers)
    hard, soft = request.time_limits
    assert request.args == content[0]
    assert request.stamps is not None
    assert request.info()["id"] == request.id
    assert request.maybe_expire() in {True, False, None}
    assert (hard, soft) is not None
