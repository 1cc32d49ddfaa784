"""`bksi flower`: Flower with the queue and the options that suit this system."""

import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from contract.settings import Settings

_COLUMNS: Final = "name,uuid,state,args,result,received,started,runtime,worker"
_SAVE_EVERY_MS: Final = 60_000


def flower(*, address: str = "127.0.0.1", port: int = 5555) -> None:
    """Show workers, requests and the length of the queue to operators, until it is told to stop.

    It finds the queue as a worker does (BKSI_REDIS_URL, BKSI_BROKER_URL) and needs no other right than that of the
    Redis user `flower`. Every option of Flower's can be set as FLOWER_<OPTION>: FLOWER_BASIC_AUTH=user:password; with
    RabbitMQ FLOWER_BROKER_API, without which the page of the broker is empty.

    Args:
        address: to listen at; set FLOWER_BASIC_AUTH before it is another than this machine's own.
        port: to listen at.
    """
    import logging  # noqa: PLC0415 - see worker.cli

    from contract.message import make_celery  # noqa: PLC0415 - same
    from contract.settings import load_settings  # noqa: PLC0415 - same
    from plumbing.logs import configure_logging  # noqa: PLC0415 - same

    settings = load_settings()
    for option, value in _defaults(settings).items():
        os.environ.setdefault(f"FLOWER_{option}", value)
    configure_logging(settings.log_level, settings.log_format)
    if not settings.remote_control:
        # It asks workers by remote control for what they take, which they do not answer, and says so for each.
        logging.getLogger("flower.inspector").setLevel(logging.ERROR)
    logging.getLogger(__name__).info("serving at %s:%d", address, port)
    # Logs go through our formatter instead of Flower's own.
    options = [f"--address={address}", f"--port={port}", "--logging=none"]
    make_celery(settings).start(["--quiet", "flower", *options])


def _defaults(settings: "Settings") -> dict[str, str]:
    state = settings.state_dir.expanduser()
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    return {
        # It shows; it changes nothing.
        "READ_ONLY": "1",
        "MAX_TASKS": "10000",
        "TASKS_COLUMNS": _COLUMNS,
        # A restart keeps what it has seen.
        "PERSISTENT": "1",
        "DB": str(state / "flower"),
        "STATE_SAVE_INTERVAL": str(_SAVE_EVERY_MS),
        # A worker that was replaced leaves the list.
        "PURGE_OFFLINE_WORKERS": "60",
    }
