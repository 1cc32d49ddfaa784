"""Serve the application with granian, in one process that lets its callers go before it ends.

Granian runs embedded in our own event loop rather than under its supervisor: SIGTERM reaches the waiting callers first,
and a process that is killed leaves no child behind. For more cores, or a rolling restart, start it again on the same
port with ``--share-port`` (`api_shim.http.port`).
"""

import asyncio
import signal
import socket
from collections.abc import Callable, Coroutine
from typing import Any, Final

import structlog
import uvloop
from fastapi import FastAPI
from granian._granian import SocketHolder
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server.embed import Server

from api_shim.http.app import create_app
from api_shim.http.port import BACKLOG, listen
from contract.redis.safety import UnsafeRedis, require_safe_redis
from contract.settings import Settings
from plumbing.collector import spare_the_collector
from plumbing.toml_file import TomlFileInvalid
from plumbing.urls import is_loopback

_HEADER_BUFFER: Final = 64 * 1024
_BUSY_BESIDES_WAITS: Final = 512

_log = structlog.get_logger("bksi.http")


class CannotServe(Exception):
    """The server does not start; the message says why and what to do."""


class InsecureBinding(CannotServe):
    """No application is configured, so anybody who reaches the port could write: only loopback may be bound."""


def require_safe_binding(settings: Settings) -> None:
    """Raise `InsecureBinding` when everybody may call and not only this machine can."""
    if settings.apps_file is not None or (settings.http_host and is_loopback(settings.http_host)):
        return
    raise InsecureBinding(
        f"BKSI_APPS_FILE is not set, so any caller would be let in: {settings.http_host!r} is not served. "
        "Configure the applications that may call, or bind to 127.0.0.1."
    )


class _Server(Server):
    """Granian's, on a socket that listens already; its own would share the port with anybody."""

    def __init__(self, app: FastAPI, listener: socket.socket, **options: Any) -> None:
        super().__init__(app, **options)
        self._listener = listener

    def _init_shared_socket(self) -> None:
        holder: Any = SocketHolder  # its stub lacks two arguments: that it is no path, and how many may wait in line
        self._shd = holder(self._listener.fileno(), False, BACKLOG)  # noqa: FBT003


def run(serving: Coroutine[Any, Any, None]) -> None:
    """`serve` or `serve_app` in an event loop of its own.

    Raises:
        CannotServe: the configuration is not safe or not valid, or the address cannot be bound.
    """
    try:
        uvloop.run(serving)
    except (TomlFileInvalid, UnsafeRedis, ValueError, OSError) as error:
        raise CannotServe(str(error)) from None


async def serve(settings: Settings, *, share_port: bool = False) -> None:
    """Serve until SIGTERM, SIGINT or SIGHUP; then answer whoever waits, finish what runs, and return.

    Args:
        settings: of this process.
        share_port: see `api_shim.http.port.listen`.

    Raises:
        InsecureBinding: see `require_safe_binding`.
        UnsafeRedis: see `require_safe_redis`.
        OSError: the address cannot be bound.
    """
    require_safe_binding(settings)
    app = create_app(settings)
    await require_safe_redis(settings)

    def let_go() -> None:
        _log.info("stopping", open_waits=app.state.bksi.waits.count)
        app.state.bksi.waits.drain()

    await serve_app(app, settings, share_port=share_port, let_go=let_go)


async def serve_app(
    app: FastAPI, settings: Settings, *, share_port: bool = False, let_go: Callable[[], object] = lambda: None
) -> None:
    """Serve `app` until SIGTERM, SIGINT or SIGHUP; then call `let_go`, finish what runs, and return.

    Raises:
        InsecureBinding: see `require_safe_binding`.
        OSError: the address cannot be bound.
    """
    require_safe_binding(settings)
    listener = await asyncio.to_thread(listen, settings, share=share_port)
    server = _Server(
        app,
        listener,
        address=settings.http_host,
        port=settings.http_port,
        interface=Interfaces.ASGI,
        # HTTP/2 without TLS has no caller here, and more ways to be abused.
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(
            # To the end of the headers, and between two requests on one connection: granian has one for both.
            header_read_timeout=int(settings.keep_alive_s * 1000),
            max_buffer_size=_HEADER_BUFFER,
        ),
        websockets=False,
        backpressure=settings.max_open_waits + _BUSY_BESIDES_WAITS,
        log_level=LogLevels.error,
        # Through our own formatter, not to standard output.
        log_dictconfig={"formatters": {}, "handlers": {}, "loggers": {"_granian": {"propagate": True}}},
    )

    def stop() -> None:
        let_go()
        server.stop()  # type: ignore[no-untyped-call] # granian is typed, this one method is not

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, stop)
    spare_the_collector()
    _log.info("serving", host=settings.http_host, port=settings.http_port)
    await server.serve()
