"""A service that enqueues without HTTP: with plain Celery, or with nothing but a Redis client, as documented."""

import os
import re
import subprocess
import uuid
from pathlib import Path
from typing import Any

import pytest
import redis as redis_client
from celery import Celery

from tests.acceptance.calls import bound, finish, rows, run
from tests.acceptance.test_flower import task_in_flower

TASK, QUEUE = "service_instance.create_batch.v1", "service_instance"
RECIPE = (Path(__file__).parents[2] / "docs" / "direct-messages.md").read_text()


def send(stack: Any, kwargs: dict[str, Any], task_id: str) -> None:
    app = Celery(broker=stack.broker, set_as_current=False)
    app.send_task(
        TASK, kwargs=kwargs, task_id=task_id, queue=QUEUE, argsrepr="biz=1", kwargsrepr="", ignore_result=True
    )
    app.close()


def test_plain_celery_message_runs_like_a_submitted_batch(stack: Any) -> None:
    request_id = uuid.uuid4().hex
    send(stack, {"request_id": request_id, "batch": bound(30), "caller": {"bk_username": "admin"}}, request_id)

    task_in_flower(stack.flower, request_id, "SUCCESS")
    report = finish(stack.http, request_id)

    assert (report["status"], report["items"][0]["outcome"]) == ("SUCCESS", "created")
    assert run(stack.http, bound(30))["data"] == report["data"]


def test_first_snippet_of_the_page_can_be_polled(stack: Any) -> None:
    snippet = re.search(r"```python\n(.*?)```", RECIPE, re.DOTALL)
    assert snippet is not None
    code = snippet[1].replace("redis://127.0.0.1:6379/0", stack.broker).replace('"bk_host_id": 2', '"bk_host_id": 29')
    names: dict[str, Any] = {}
    exec(code, names)
    names["app"].close()

    task_in_flower(stack.flower, names["request_id"], "SUCCESS")
    assert finish(stack.http, names["request_id"])["items"][0]["bk_host_id"] == 29


def test_message_of_the_shell_recipe_is_taken(stack: Any, tmp_path: Path) -> None:
    script = re.search(r"```sh\n(.*?)```", RECIPE, re.DOTALL)
    assert script is not None
    # Not every machine has redis-cli: this one writes down what it is given.
    (tmp_path / "redis-cli").write_text('#!/bin/sh\nprintf "%s" "$3" > "$MESSAGE"\n')
    (tmp_path / "redis-cli").chmod(0o755)
    message = tmp_path / "message.json"
    subprocess.run(
        ["sh", "-ec", script[1].replace('"bk_host_id": 2', '"bk_host_id": 31')],
        env=os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "MESSAGE": str(message)},
        check=True,
    )
    request_id = re.search(r'"id": "([0-9a-f]{32})"', message.read_text())
    assert request_id is not None
    with redis_client.Redis.from_url(stack.broker) as redis:
        redis.lpush(QUEUE, message.read_bytes())

    task_in_flower(stack.flower, request_id[1], "SUCCESS")
    report = finish(stack.http, request_id[1])

    assert (report["status"], report["items"][0]["bk_host_id"]) == ("SUCCESS", 31)


def test_refused_direct_batch_gets_its_report(stack: Any) -> None:
    request_id = uuid.uuid4().hex
    send(stack, {"request_id": request_id, "batch": bound(37) | {"bk_biz_id": "1"}}, request_id)

    task_in_flower(stack.flower, request_id, "FAILURE")
    report = finish(stack.http, request_id)

    assert (report["status"], report["code"], report["errors"][0]["path"]) == ("FAILED", 1199009, "bk_biz_id")
    assert rows(stack.postgres, "SELECT 1 FROM service_instance WHERE bk_host_id = 37") == []
    assert rows(stack.postgres, "SELECT 1 FROM audit_log WHERE request_id = $1", request_id) == []


@pytest.mark.bad_input(98, "a known request_id with another payload on the queue", "dropped; the first result stands")
def test_known_request_id_with_another_payload_changes_nothing(stack: Any) -> None:
    report = run(stack.http, bound(33))
    send(stack, {"request_id": report["request_id"], "batch": bound(34)}, report["request_id"])

    # The next message of the same queue has run, so the forged one has too.
    assert run(stack.http, bound(33))["data"] == report["data"]
    again = finish(stack.http, report["request_id"])
    assert again == report
    assert rows(stack.postgres, "SELECT 1 FROM service_instance WHERE bk_host_id = 34") == []


@pytest.mark.parametrize(
    "kwargs",
    [
        {},
        {"request_id": 5},
        {"request_id": "x"},
        {"request_id": "a" * 32, "batch": []},
        {"request_id": "a" * 32, "x": 1},
    ],
    ids=["none", "int", "no hex", "batch is a list", "unknown key"],
)
def test_wrong_arguments_fail_the_task_and_nothing_else(stack: Any, kwargs: dict[str, Any]) -> None:
    task_id = uuid.uuid4().hex
    send(stack, kwargs, task_id)

    task = task_in_flower(stack.flower, task_id, "FAILURE")

    assert "arguments" in task["exception"]
    assert run(stack.http, bound(33))["status"] == "SUCCESS"
