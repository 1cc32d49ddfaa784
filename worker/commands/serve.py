"""`bksi worker` and `bksi migrate`: what runs on a worker's machine."""

import os
import socket
import sys
from typing import Annotated

from cyclopts import Parameter


def worker(
    *, name: Annotated[str | None, Parameter(help="Node name; the default names host and process.")] = None
) -> None:
    """Run one worker process until SIGTERM; it finishes or hands back what it has. Start one per core."""
    from plumbing.collector import without_collections  # noqa: PLC0415 - see worker.cli

    with without_collections():
        from contract.settings import load_settings  # noqa: PLC0415 - same
        from plumbing.logs import configure_logging  # noqa: PLC0415 - same

        settings = load_settings()
        # Before the app is built and Celery does it: both warn of a few things first.
        configure_logging(settings.log_level, settings.log_format)
        from worker.app import app  # noqa: PLC0415 - importing it builds the Celery app

    # Celery's own command line would load what else is installed for it, Flower with its web server among it: a quarter
    # of a worker's memory.
    process = app.Worker(
        hostname=f"{name or f'worker-{os.getpid()}'}@{socket.gethostname()}",
        concurrency=settings.worker_concurrency,
        loglevel=settings.log_level,
        # Workers need not know of each other: leases do the coordinating.
        without_gossip=True,
        without_mingle=True,
        task_events=True,
        # Its banner is no log line.
        quiet=True,
    )
    process.start()
    sys.exit(process.exitcode)


def migrate() -> None:
    """Bring the database (BKSI_POSTGRES_DSN) to the newest schema; several at once are harmless."""
    from contract.settings import load_settings  # noqa: PLC0415 - see worker.cli
    from plumbing.urls import without_secrets  # noqa: PLC0415 - same
    from worker.postgres.errors import DatabaseError  # noqa: PLC0415 - same
    from worker.postgres.migrate import upgrade  # noqa: PLC0415 - same

    dsn = load_settings().postgres_dsn
    try:
        upgrade(dsn)
    except DatabaseError as error:
        sys.exit(f"bksi migrate: BKSI_POSTGRES_DSN ({without_secrets(dsn)}): {error}")
