"""The malformed shapes of the Redis queue, as far as AMQP can carry them, and a live worker that outlives them all."""

import base64
import binascii
import json
from collections.abc import Iterator
from typing import Any

import amqp
from kombu import Connection

from contract.message import QUEUE_NAME, TASK_NAME
from devstack.rabbitmq import RabbitMQ
from tests.conftest import RunBksi
from tests.integration.live import LiveWorker
from tests.unit.worker.consumer.transport.messages import UNFIT

STEM = TASK_NAME.rpartition("v1")[0].encode()
# What is wrong with these is in parts of the JSON that AMQP has not, or has typed.
ONLY_JSON = {
    *("no properties", "properties a list", "no body encoding", "body encoding unknown", "no delivery info"),
    *("delivery info a text", "routing key missing", "routing key a list", "reply to a list", "priority a text"),
    *("headers a list", "headers null", "content type a list", "encoding an object", "too large"),
}


def carried() -> Iterator[tuple[str, amqp.Message]]:
    for name, shape in UNFIT.items():
        try:
            wire: Any = json.loads(shape.replace(b"mark.v", STEM + b"v"))
        except (ValueError, RecursionError):
            wire = None
        if name in ONLY_JSON or not isinstance(wire, dict):
            continue
        body = wire.get("body")
        try:
            content = base64.b64decode(body, validate=True)
        except (binascii.Error, TypeError, ValueError):
            content = json.dumps(body).encode()
        yield (
            name,
            amqp.Message(
                content,
                content_type=wire.get("content-type"),
                content_encoding=wire.get("content-encoding"),
                application_headers=wire.get("headers"),
            ),
        )


def test_malformed_messages_are_set_aside_and_the_requests_behind_them_are_done(
    worker: LiveWorker, rabbitmq: RabbitMQ
) -> None:
    sent, requests = [], []
    with Connection(rabbitmq.url) as connection, connection.channel() as channel:
        for host, (name, message) in enumerate(carried(), 1):
            channel.basic_publish(message, routing_key=QUEUE_NAME)
            sent.append(name)
            requests.append(worker.send(host))

    assert len(sent) > 45
    assert {worker.report(request_id)["result"] for request_id in requests} == {True}
    letters = worker.wait_for(lambda: len(worker.letters()) >= len(sent) and worker.letters(), "all set aside")
    assert len(letters) == len(sent)
    assert all(letter["reason"].isprintable() and letter["reason"] for letter in letters)
    assert worker.process.returncode is None


def test_message_that_is_sent_again_comes_back_when_it_is_still_unfit(
    worker: LiveWorker, settings: dict[str, str], bksi: RunBksi
) -> None:
    before = worker.letters()
    done = bksi("dlq", "requeue", before[0]["id"], env=settings)
    assert done.returncode == 0, done.stderr

    after = worker.wait_for(
        lambda: len(letters := worker.letters()) == len(before) and letters[0] != before[0] and letters, "back"
    )
    assert (after[0]["reason"], after[0]["task_id"]) == (before[0]["reason"], before[0]["task_id"])
    assert after[1:] == before[1:]
