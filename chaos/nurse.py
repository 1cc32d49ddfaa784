"""The process behind `chaos.nursery`: it has loaded every library that `bksi` needs, and forks for each order.

On its input stands an order a line: ``{"command": […], "environment": {…}, "output": path, "errors": path}``. It
answers ``{"started": pid}``, and later ``{"ended": pid, "status": n}``.

This is the one place outside the sides that imports them: for the libraries they load, not to call anything. All but
`worker.app` and `worker.commands.console`, which look at the environment when they are imported.
"""

import gc
import json
import os
import select
import signal
import sys
import threading
from typing import Any, NoReturn

import asyncpg  # noqa: F401 - loaded before the fork, as all of these
import httpx2  # noqa: F401
import redis.asyncio  # noqa: F401
import rich.markdown
import rich.progress  # noqa: F401
import stamina  # noqa: F401

import api_shim.cli
import api_shim.http.server  # noqa: F401
import worker.cli
import worker.commands.serve
import worker.consumer.pool
import worker.consumer.transport.redis
import worker.runtime
import worker.walk.task  # noqa: F401
from bksi_client.cli import main as bksi


def main() -> None:
    """Fork for every line, and tell of every end."""
    if threading.active_count() > 1:
        raise RuntimeError("a library started a thread when it was loaded; nothing may be forked then")
    # No child's collector looks at what all share: it would copy it, and take half a second for that at the end.
    gc.freeze()
    ended, ends = os.pipe()
    os.set_blocking(ends, False)
    signal.set_wakeup_fd(ends)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    orders = b""
    while True:
        ready, _, _ = select.select([0, ended], [], [])
        if ended in ready:
            os.read(ended, 4096)
            _collect()
        if 0 in ready:
            chunk = os.read(0, 65_536)
            if not chunk:
                return
            *lines, orders = (orders + chunk).split(b"\n")
            for line in lines:
                _start(json.loads(line))


def _start(order: dict[str, Any]) -> None:
    pid = os.fork()
    if pid:
        _tell({"started": pid})
        return
    _become(order)


def _become(order: dict[str, Any]) -> NoReturn:
    """Be a process of its own that runs `bksi`, to its very end: what it raises leaves through Python as always."""
    os.setsid()
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for target, path, flags in (
        (0, os.devnull, os.O_RDONLY),
        (1, order["output"], os.O_WRONLY | os.O_APPEND),
        (2, order["errors"], os.O_WRONLY | os.O_APPEND),
    ):
        os.dup2(os.open(path, flags), target)
    os.closerange(3, 256)
    os.environ.update(order["environment"])
    sys.argv = ["bksi", *order["command"]]
    bksi()
    sys.exit()


def _collect() -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        _tell({"ended": pid, "status": os.waitstatus_to_exitcode(status)})


def _tell(message: dict[str, Any]) -> None:
    os.write(1, (json.dumps(message) + "\n").encode())


if __name__ == "__main__":
    main()
