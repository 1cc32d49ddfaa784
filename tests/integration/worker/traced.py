"""A worker with the receivers that a tracing library connects; they note in Redis what they are told.

``celery -A tests.integration.worker.traced worker``
"""

import json
from typing import Any, Final

import redis
from celery import Task, signals

from worker.app import app, settings

__all__ = ["app"]

NOTES: Final = "notes"
_redis = redis.Redis.from_url(settings.redis_url)


def _note(event: str, task: "Task[Any, Any]") -> None:
    request = task.request
    _redis.rpush(NOTES, json.dumps([event, request.id, request.get("traceparent"), bool(request.hostname)]))


@signals.task_prerun.connect
def _began(task: "Task[Any, Any]", **_: Any) -> None:
    _note("prerun", task)


@signals.task_success.connect
def _succeeded(sender: "Task[Any, Any]", **_: Any) -> None:
    _note("success", sender)


@signals.task_failure.connect
def _failed(sender: "Task[Any, Any]", **_: Any) -> None:
    _note("failure", sender)


@signals.task_postrun.connect
def _ended(task: "Task[Any, Any]", **_: Any) -> None:
    _note("postrun", task)
