"""What a calling service imports: submit a batch, wait for it, read its outcome.

    from bksi_client import Client

    with Client("http://127.0.0.1:8080") as client:
        operation = client.submit({"bk_biz_id": 1, "bk_module_id": 60, "instances": [{"bk_host_id": 2}]})
        ids = operation.result(timeout=60)["data"]

`AsyncClient` and `AsyncOperation` mirror `Client` and `Operation`. A call is repeated while the server is away, busy or
says "slow down", for up to `patience_s` and as late as its ``Retry-After`` asks. Every call may be repeated: a submit
has its key before the first try, so that it is the same request whatever was lost, and every error carries the key.
What is repeated is logged as ``bksi_client``, level INFO.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from bksi_client import types
from bksi_client.errors import (
    BatchFailed,
    BksiError,
    JobFailed,
    RequestRefused,
    StillRunning,
    TimedOut,
    Unanswered,
)

if TYPE_CHECKING:
    from bksi_client.asynchronous import AsyncClient, AsyncJob, AsyncOperation
    from bksi_client.blocking import Client, Job, Operation

__all__ = [
    "AsyncClient",
    "AsyncJob",
    "AsyncOperation",
    "BatchFailed",
    "BksiError",
    "Client",
    "Job",
    "JobFailed",
    "Operation",
    "RequestRefused",
    "StillRunning",
    "TimedOut",
    "Unanswered",
    "types",
]

_MODULES: Final = {
    "AsyncClient": "asynchronous",
    "AsyncJob": "asynchronous",
    "AsyncOperation": "asynchronous",
    "Client": "blocking",
    "Job": "blocking",
    "Operation": "blocking",
}


def __getattr__(name: str) -> Any:
    """A client, with the HTTP library that it needs and that takes most of the time: `bksi --help` goes without."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
