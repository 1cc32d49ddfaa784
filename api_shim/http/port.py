"""The port this server listens on: its own, or shared with processes of the same configuration when that is asked for.

Linux gives the connections of one port to any of the processes that have bound it with SO_REUSEPORT, at random. Two
that hold different things, or let different callers in, would then answer in turns.
"""

import errno
import hashlib
import http.client
import json
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from contract.settings import Settings
from plumbing.urls import without_secrets

CONFIGURATION_HEADER: Final = "X-Bksi-Configuration"
"""Of ``/healthz``: what `fingerprint` gives."""
BACKLOG: Final = 1024
_ANSWER_S: Final = 5.0
_TURN_S: Final = 10.0
_LOOK_S: Final = 0.05
_EVERYWHERE: Final = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}  # noqa: S104 - where to knock


def fingerprint(settings: Settings) -> str:
    """Sixteen hex digits that two servers have in common if the same callers get the same answers from them.

    Of the applications' file it has a digest, of servers their addresses; no secret can be found out by it.
    """
    servers = [without_secrets(url) for url in (settings.redis_url, settings.broker)]
    apps = settings.apps_file and hashlib.sha256(settings.apps_file.read_bytes()).hexdigest()
    waits = [settings.compat_wait_s, settings.max_wait_s, settings.on_existing, settings.mode]
    parts = [servers, settings.key_prefix, apps, sorted(settings.trusted_proxies), waits]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def listen(settings: Settings, *, share: bool) -> socket.socket:
    """A socket that listens on `http_host` and `http_port`.

    Args:
        settings: of this server.
        share: join processes of the same configuration that share the port as well.

    Raises:
        OSError: somebody else listens there; the text says who may, and what to do.
    """
    family, _, _, _, address = socket.getaddrinfo(
        settings.http_host, settings.http_port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if share:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        _bind(listener, address, settings)
        if not share:
            listener.listen(BACKLOG)
            return listener
        with _turn(settings.http_port):
            _require_same(settings)
            listener.listen(BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


def _bind(listener: socket.socket, address: tuple[Any, ...], settings: Settings) -> None:
    try:
        listener.bind(address)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        raise OSError(
            f"{settings.http_host}:{settings.http_port} is in use. Choose another BKSI_HTTP_PORT, or start every"
            " server of one configuration with --share-port."
        ) from None


def _require_same(settings: Settings) -> None:
    """Ask whoever listens already."""
    shown = f"{settings.http_host}:{settings.http_port}"
    host = _EVERYWHERE.get(settings.http_host, settings.http_host)
    connection = http.client.HTTPConnection(host, settings.http_port, timeout=_ANSWER_S)
    try:
        connection.request("GET", "/healthz")
        theirs = connection.getresponse().headers.get(CONFIGURATION_HEADER)
    except ConnectionRefusedError:
        return  # nobody does
    except (OSError, http.client.HTTPException) as error:
        raise OSError(f"{shown} is in use by something that does not answer ({type(error).__name__})") from None
    finally:
        connection.close()
    if theirs != fingerprint(settings):
        raise OSError(
            f"{shown} is in use by a server of another configuration: only those with the same Redis, applications and"
            " proxies may share a port."
        )


@contextmanager
def _turn(port: int) -> Iterator[None]:
    """One after the other: of two that start at once, the second must see the first.

    The name is the network's own, as the port is, and is gone with the process that holds it. Linux alone has such
    names; elsewhere SO_REUSEPORT does not share connections either.
    """
    if sys.platform != "linux":
        yield
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as name:
        give_up_at = time.monotonic() + _TURN_S
        while True:
            try:
                name.bind(f"\0bksi-port-{port}")
            except OSError:
                if time.monotonic() > give_up_at:
                    raise OSError(f"another process takes too long to start on port {port}") from None
                time.sleep(_LOOK_S)
            else:
                break
        yield
