"""The Celery app of the worker, and what each of its processes starts and stops.

Start it with ``bksi worker``, or with plain Celery:
``celery -A worker.app worker --without-gossip --without-mingle -E``.
"""

import logging
from typing import Any, Final

from celery import Celery, signals

from contract.message import DELIVER_TASK_NAME, PUBLISH_TASK_NAME, TASK_NAME, make_celery
from contract.redis.safety import UnsafeRedis
from contract.settings import Settings, load_settings
from plumbing import failpoints
from plumbing.collector import spare_the_collector
from plumbing.logs import configure_logging, give_up
from plumbing.toml_file import TomlFileInvalid
from plumbing.urls import without_secrets
from worker.consumer.celery_consumer import CONSUMER, DISPATCHER, SERIALIZER
from worker.consumer.sayings import log_sayings
from worker.consumer.transport.configure import use_transport
from worker.postgres.errors import DatabaseUnsuitable
from worker.runtime import CmdbUnusable, Runtime
from worker.walk.task import register


def make_worker_app(settings: Settings) -> Celery:
    """The contract's app with the worker's settings; each setting says why it is not Celery's default."""
    app = make_celery(settings)
    app.conf.update(
        # A message is acknowledged after its envelope is stored; until then another worker can have it.
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        # The task itself records every failure; rejecting instead would run a poison request in a hot loop.
        task_acks_on_failure=True,
        task_acks_on_timeout=True,
        worker_prefetch_multiplier=1,
        worker_pool="worker.consumer.pool:AsyncioPool",
        worker_concurrency=settings.worker_concurrency,
        worker_soft_shutdown_timeout=settings.shutdown_grace_s,
        # A finished transaction's message can be acknowledged after a reconnect: do not kill it and run it again.
        worker_cancel_long_running_tasks_on_connection_loss=False,
        # A Redis that refuses commands (read-only, out of memory) is asked again; kombu would end the worker. A queue
        # that RabbitMQ refuses to declare stays refused, so that worker does end.
        broker_channel_error_retry=not settings.broker_is_rabbitmq,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_send_task_events=True,
        worker_consumer=CONSUMER,
        event_serializer=SERIALIZER,
        # Else whoever can write to the broker stops and throttles workers.
        worker_enable_remote_control=settings.remote_control,
        # A soft limit's signal would poison the loop that all tasks share; deadlines are asyncio's and PostgreSQL's.
        task_soft_time_limit=None,
        task_time_limit=None,
        task_track_started=False,
    )
    app.events.dispatcher_cls = DISPATCHER
    use_transport(app, settings, (TASK_NAME, PUBLISH_TASK_NAME, DELIVER_TASK_NAME))
    return app


settings = load_settings()
failpoints.arm(settings.failpoints, settings.failpoints_dir)
app = make_worker_app(settings)
runtime = Runtime(settings, app)
register(app, runtime)


_SHOWS_BODY: Final = ("The full contents of the message body was", "Can't decode message body")


@signals.celeryd_init.connect  # before a worker looks at its servers, and says why it cannot use them
@signals.setup_logging.connect
def _configure_logging(**_: Any) -> None:
    configure_logging(settings.log_level, settings.log_format)
    if settings.log_format == "json":
        log_sayings()
    # Celery logs the whole body of a message that it cannot read or whose task it does not know. It may hold anything.
    consumer = logging.getLogger("celery.worker.consumer.consumer")
    consumer.addFilter(_without_bodies)
    consumer.addFilter(_without_outages)
    if settings.log_level != "DEBUG":
        # A line for each task that was received: its event says the same, and Flower shows it.
        logging.getLogger("celery.worker.strategy").setLevel(logging.WARNING)


def _without_bodies(record: logging.LogRecord) -> bool:
    if record.args and any(phrase in str(record.msg) for phrase in _SHOWS_BODY):
        record.msg, record.args = "message refused: unknown task or unreadable body", ()
        record.exc_info = None
    return True


def _without_outages(record: logging.LogRecord) -> bool:
    """Celery says with each try that it cannot connect; `plumbing.outages` says it once."""
    return not record.getMessage().startswith(("consumer: Connection to broker lost", "consumer: Cannot connect to"))


@signals.worker_ready.connect
def _begin_to_work(**_: Any) -> None:
    spare_the_collector()


@signals.worker_init.connect
def _start(**_: Any) -> None:
    try:
        runtime.start()
    except DatabaseUnsuitable as error:
        give_up(f"bksi worker: BKSI_POSTGRES_DSN ({without_secrets(settings.postgres_dsn)}): {error}")
    except (UnsafeRedis, TomlFileInvalid, CmdbUnusable) as error:
        # Celery logs what a signal's receiver raises, and goes on; but not this.
        give_up(f"bksi worker: {error}")


@signals.worker_shutting_down.connect
def _begin_to_stop(**_: Any) -> None:
    runtime.begin_to_stop()


@signals.worker_shutdown.connect
def _stop(**_: Any) -> None:
    runtime.stop()
