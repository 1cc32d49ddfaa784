"""A worker with the receivers that a tracing library connects; they note in Redis what they are told.

``celery -A tests.integration.worker.traced worker``
"""

import json
from functools import partial
from typing import Any

import redis
from celery import Task, signals

from worker.app import app, settings

__all__ = ["app"]

_redis = redis.Redis.from_url(settings.redis_url)


def _note(event: str, sender: "Task[Any, Any]", **_: Any) -> None:
    request = sender.request
    _redis.rpush("notes", json.dumps([event, request.id, request.get("traceparent"), bool(request.hostname)]))


for event, signal in {
    "prerun": signals.task_prerun,
    "success": signals.task_success,
    "failure": signals.task_failure,
    "postrun": signals.task_postrun,
}.items():
    signal.connect(partial(_note, event), weak=False)
