"""Messages of tasks that take a request_id alone."""

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest

from worker.delivery.task import deliver
from worker.runtime import Runtime
from worker.walk.publish_again import publish_again
from worker.walk.take import BatchFailed


@pytest.mark.parametrize("task", [deliver, publish_again])
@pytest.mark.parametrize("kwargs", [{}, {"request_id": "x"}, {"request_id": "0" * 32, "more": 1}])
def test_message_that_is_not_for_a_task_fails_it(task: Callable[..., Any], kwargs: dict[str, Any]) -> None:
    with pytest.raises(BatchFailed, match="not those of this task"):
        asyncio.run(task(cast("Runtime", None), kwargs))
