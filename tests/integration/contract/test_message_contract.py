"""Our message is the very message that `apply_async` pushes: kombu's wire format is no public API, so this holds it."""

import base64
import json
from typing import Any

import redis as redis_sync

from contract.message import QUEUE_NAME, TASK_NAME, build_message, make_celery
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


def test_built_message_equals_what_apply_async_pushes(redis_url: str) -> None:
    app = make_celery(Settings(redis_url=redis_url))
    client = redis_sync.Redis.from_url(redis_url)
    client.delete(QUEUE_NAME)

    @app.task(name=TASK_NAME)  # type: ignore[untyped-decorator]
    def create_batch(request_id: str) -> None: ...

    create_batch.apply_async(
        kwargs={"request_id": REQUEST_ID},
        task_id=REQUEST_ID,
        argsrepr="biz=1 module=60 instances=1",
        kwargsrepr="",
        queue=QUEUE_NAME,
    )
    pushed = client.lpop(QUEUE_NAME)
    client.close()
    app.close()

    assert isinstance(pushed, bytes)
    assert flat(build_message(app, REQUEST_ID, "biz=1 module=60 instances=1")) == flat(pushed)


def test_message_carries_the_request_id_alone() -> None:
    app = make_celery(Settings())

    body = flat(build_message(app, REQUEST_ID, "biz=1 module=60 instances=1"))["body"]

    assert body[:2] == [[], {"request_id": REQUEST_ID}]


def test_two_messages_of_one_request_have_their_own_delivery_tags() -> None:
    app = make_celery(Settings())

    tags = {json.loads(build_message(app, REQUEST_ID, "x"))["properties"]["delivery_tag"] for _ in range(2)}

    assert len(tags) == 2
