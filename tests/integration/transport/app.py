"""A small Celery app: what it did is counted in a Redis database of its own, not in the broker's."""

import os
import time

import redis
from celery import Celery

from contract.settings import Settings
from worker.transport.configure import guard_broker

NAMES = ["mark.v1", "slow.v1", "sleep.v1", "refuse.v1", "noop.v1"]

settings = Settings(
    broker_url=os.environ["TEST_BROKER"],
    transport=os.environ.get("TEST_TRANSPORT", "guarded"),
    owner_ttl_ms=int(os.environ.get("TEST_OWNER_TTL_MS", "1000")),
)
audit = redis.Redis.from_url(os.environ["TEST_AUDIT"])

app = Celery("transport-test", broker=settings.broker, set_as_current=False)
app.conf.update(
    task_default_queue="work",
    task_ignore_result=True,
    task_acks_late=True,
    accept_content=["json"],
    worker_prefetch_multiplier=int(os.environ.get("TEST_PREFETCH", "1")),
    worker_hijack_root_logger=False,
    worker_redirect_stdouts=False,
    worker_cancel_long_running_tasks_on_connection_loss=False,
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
)
guard_broker(app, settings, NAMES)


@app.task(name="mark.v1")
def mark(number):
    """Count a run."""
    audit.hincrby("done", number, 1)


@app.task(name="noop.v1")
def noop():
    """Nothing."""


@app.task(name="slow.v1")
def slow(number, seconds):
    """Count a start, take a while, count the end."""
    audit.hincrby("started", number, 1)
    time.sleep(seconds)
    audit.hincrby("done", number, 1)
