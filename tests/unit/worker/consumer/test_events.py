"""An event that goes the short way is the one that Celery makes."""

import time
from typing import Any

import pytest
from celery import Celery
from celery.events.dispatcher import EventDispatcher

from worker.consumer.celery_consumer import Dispatcher

_FIELDS = {
    "task-received": {
        "name": "a task",
        "args": "a line",
        "kwargs": "",
        "root_id": "1",
        "parent_id": None,
        "retries": 0,
    },
    "task-started": {},
    "task-succeeded": {"result": "'created=1'", "runtime": 0.1},
    "task-failed": {"exception": "BatchFailed()", "traceback": ""},
}


def kept_by(kind: type[EventDispatcher], *, groups: list[str] | None = None, limit: int = 24) -> list[dict[str, Any]]:
    app = Celery("events", broker="memory://", set_as_current=False)
    with app.connection_for_write() as connection:
        dispatcher: Any = kind(
            connection, "a host", app=app, groups=groups, buffer_group=frozenset({"task"}), buffer_limit=limit
        )
        for name, fields in _FIELDS.items():
            dispatcher.send(name, uuid="1", **fields)
        kept: list[dict[str, Any]] = dispatcher._group_buffer["task"]
        dispatcher.disable()
        dispatcher.send("task-started", uuid="2")
    return kept


def test_events_are_those_that_celery_makes() -> None:
    ours, celerys = kept_by(Dispatcher), kept_by(EventDispatcher)
    for event in (*ours, *celerys):
        assert abs(event.pop("timestamp") - time.time()) < 60
    assert ours == celerys
    assert [event["type"] for event in ours] == list(_FIELDS)


@pytest.mark.parametrize("kind", [Dispatcher, EventDispatcher])
def test_group_that_nobody_asked_for_is_not_kept(kind: type[EventDispatcher]) -> None:
    assert kept_by(kind, groups=["worker"]) == []


@pytest.mark.parametrize("kind", [Dispatcher, EventDispatcher])
def test_what_has_gathered_is_sent_once_it_is_much(kind: type[EventDispatcher]) -> None:
    assert kept_by(kind, limit=4) == []
