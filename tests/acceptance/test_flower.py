"""What an operator sees in Flower."""

from typing import Any

import httpx2

from tests.acceptance.calls import bound, run


def task_in_flower(flower: str, request_id: str, state: str) -> dict[str, Any]:
    """Flower's view of the task, once the worker's event has reached it."""
    while True:
        response = httpx2.get(f"{flower}/api/task/info/{request_id}", timeout=60)
        if response.status_code == 200 and response.json()["state"] == state:
            task: dict[str, Any] = response.json()
            return task


def test_finished_batch_is_found_by_its_request_id(stack: Any) -> None:
    request_id = run(stack.http, bound(20))["request_id"]

    task = task_in_flower(stack.flower, request_id, "SUCCESS")

    assert task["name"] == "service_instance.create_batch.v1"
    assert task["args"] == "biz=1 module=60 instances=1"
    assert task["started"] is not None


def test_failed_batch_shows_its_code_and_no_values(stack: Any) -> None:
    request_id = run(stack.http, bound(20, module=999))["request_id"]

    task = task_in_flower(stack.flower, request_id, "FAILURE")

    assert "1101034" in task["exception"]
