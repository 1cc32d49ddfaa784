"""Our message is the very message that `apply_async` pushes: kombu's wire format is no public API, so this holds it."""

import base64
import json
from datetime import UTC, datetime
from typing import Any

import redis as redis_sync
from celery import Celery

from contract.message import (
    QUEUE_NAME,
    TASK_NAME,
    Caller,
    TaskArguments,
    build_direct_message,
    build_message,
    make_celery,
)
from contract.settings import Settings

REQUEST_ID = "0123456789abcdef0123456789abcdef"
# Unique to every message, or to the process that sent it.
VOLATILE = {"delivery_tag", "reply_to", "origin"}


def flat(raw: bytes) -> dict[str, Any]:
    message = json.loads(raw)
    message["body"] = json.loads(base64.b64decode(message["body"]))
    for part in (message["headers"], message["properties"]):
        for name in VOLATILE & part.keys():
            assert isinstance(part.pop(name), str)
    # Celery repeats these two headers as properties, where no consumer reads them.
    message["properties"].pop("argsrepr", None)
    message["properties"].pop("kwargsrepr", None)
    return message


def pushed_by_apply_async(app: Celery, kwargs: dict[str, Any], argsrepr: str) -> bytes:
    with redis_sync.Redis.from_url(app.conf.broker_url) as client:
        client.delete(QUEUE_NAME)

        @app.task(name=TASK_NAME, shared=False)  # type: ignore[untyped-decorator]
        def create_batch(**kwargs: object) -> None: ...

        create_batch.apply_async(kwargs=kwargs, task_id=REQUEST_ID, argsrepr=argsrepr, kwargsrepr="", queue=QUEUE_NAME)
        pushed = client.lpop(QUEUE_NAME)
    assert isinstance(pushed, bytes)
    return pushed


def test_built_message_equals_what_apply_async_pushes(redis_url: str) -> None:
    line = "biz=1 module=60 instances=1"
    with make_celery(Settings(redis_url=redis_url)) as app:
        pushed = pushed_by_apply_async(app, {"request_id": REQUEST_ID}, line)

        assert flat(build_message(app, REQUEST_ID, line)) == flat(pushed)


def test_direct_message_equals_what_apply_async_pushes(redis_url: str) -> None:
    kwargs = {"request_id": REQUEST_ID, "batch": {"bk_biz_id": 1}, "caller": {"bk_app_code": "a"}}
    arguments = TaskArguments(request_id=REQUEST_ID, batch={"bk_biz_id": 1}, caller=Caller(bk_app_code="a"))
    with make_celery(Settings(redis_url=redis_url)) as app:
        pushed = pushed_by_apply_async(app, kwargs, "")

        assert flat(build_direct_message(app, arguments)) == flat(pushed)


def test_direct_message_is_built_whatever_its_batch_holds() -> None:
    batch = {"at": datetime(2026, 11, 26, tzinfo=UTC), "half": "\ud800"}

    message = build_direct_message(make_celery(Settings()), TaskArguments(request_id=REQUEST_ID, batch=batch))

    assert flat(message)["body"][1]["batch"] == {"at": "2026-11-26 00:00:00+00:00", "half": "\ud800"}


def test_message_carries_the_request_id_alone() -> None:
    app = make_celery(Settings())

    body = flat(build_message(app, REQUEST_ID, "biz=1 module=60 instances=1"))["body"]

    assert body[:2] == [[], {"request_id": REQUEST_ID}]


def test_two_messages_of_one_request_have_their_own_delivery_tags() -> None:
    app = make_celery(Settings())

    tags = {json.loads(build_message(app, REQUEST_ID, "x"))["properties"]["delivery_tag"] for _ in range(2)}

    assert len(tags) == 2
