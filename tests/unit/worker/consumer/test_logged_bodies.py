"""What Celery logs of messages it refuses. A body may hold passwords."""

import logging

import pytest
from celery.worker.consumer import consumer

from worker.app import _without_bodies


@pytest.mark.parametrize("name", ["UNKNOWN_FORMAT", "UNKNOWN_TASK_ERROR", "INVALID_TASK_ERROR", "MESSAGE_DECODE_ERROR"])
def test_refused_message_is_logged_without_its_body(name: str) -> None:
    text = getattr(consumer, name)
    values = ("CANARY",) * (text.count("%") - text.count("%%"))
    record = logging.LogRecord(consumer.logger.name, logging.ERROR, __file__, 1, text, values, (None, None, None))

    assert _without_bodies(record)

    assert "CANARY" not in record.getMessage()
    assert record.exc_info is None
