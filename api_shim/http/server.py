"""Serve the application with granian, in one process that lets its callers go before it ends.

Granian runs embedded in our own event loop rather than under its supervisor: SIGTERM reaches the waiting callers first,
and a process that is killed leaves no child behind. For more cores start it again on the same port, which Linux then
shares between the processes (SO_REUSEPORT); a rolling restart is the same.
"""

import asyncio
import signal
from typing import Final

import structlog
import uvloop
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server.embed import Server

from api_shim.http.app import create_app
from contract.redis.safety import UnsafeRedis, require_safe_redis
from contract.settings import Settings
from plumbing.collector import spare_the_collector
from plumbing.toml_file import TomlFileInvalid
from plumbing.urls import is_loopback

_HEADER_TIMEOUT_MS: Final = 5_000
"""To the end of the headers, and between two requests on one connection."""
_HEADER_BUFFER: Final = 64 * 1024
_BUSY_BESIDES_WAITS: Final = 512

_log = structlog.get_logger("bksi.http")


class CannotServe(Exception):  # noqa: N818 - an error name says the fact
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


def run(settings: Settings) -> None:
    """`serve` in an event loop of its own.

    Raises:
        CannotServe: the configuration is not safe or not valid, or the address cannot be bound.
    """
    try:
        uvloop.run(serve(settings))
    except (TomlFileInvalid, UnsafeRedis, ValueError, OSError) as error:
        raise CannotServe(str(error)) from None


async def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; then answer whoever waits, finish what runs, and return.

    Raises:
        InsecureBinding: see `require_safe_binding`.
        UnsafeRedis: see `require_safe_redis`.
        OSError: the address cannot be bound.
    """
    require_safe_binding(settings)
    app = create_app(settings)
    await require_safe_redis(settings)
    server = Server(
        app,
        address=settings.http_host,
        port=settings.http_port,
        interface=Interfaces.ASGI,
        # HTTP/2 without TLS has no caller here, and more ways to be abused.
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=_HEADER_TIMEOUT_MS, max_buffer_size=_HEADER_BUFFER),
        websockets=False,
        backlog=1024,
        backpressure=settings.max_open_waits + _BUSY_BESIDES_WAITS,
        log_level=LogLevels.error,
        # Through our own formatter, not to standard output.
        log_dictconfig={"formatters": {}, "handlers": {}, "loggers": {"_granian": {"propagate": True}}},
    )

    def stop() -> None:
        _log.info("stopping", open_waits=app.state.bksi.waits.count)
        app.state.bksi.waits.drain()
        server.stop()  # type: ignore[no-untyped-call] # granian is typed, this one method is not

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    spare_the_collector()
    _log.info("serving", host=settings.http_host, port=settings.http_port)
    await server.serve()
