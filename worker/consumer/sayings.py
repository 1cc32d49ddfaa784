"""What Celery says past all logging when a signal comes, as lines of our log."""

from typing import Any

import structlog
from celery.apps import worker

_log = structlog.get_logger("celery.apps.worker")


def log_sayings() -> None:
    """Log them. Only where a line is written in one step, as JSON is: a signal may come in the middle of another."""
    worker.safe_say = _log_saying  # type: ignore[attr-defined] # its stubs have not all of it


def _log_saying(message: str, _stream: Any = None) -> None:
    _log.info(message.removeprefix("worker: "))
