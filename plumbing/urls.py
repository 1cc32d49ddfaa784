"""What a server's URL says about how exposed it is, and how it may be shown."""

import ipaddress
from contextlib import suppress
from typing import Final
from urllib.parse import parse_qs, urlsplit

REDIS_SCHEMES: Final = ("redis", "rediss", "unix", "redis+socket")
RABBITMQ_SCHEMES: Final = ("amqp", "amqps", "pyamqp")


def is_loopback(host: str | None) -> bool:
    """Whether only this machine can reach `host`; a path (a socket's) or nothing counts as this machine, too."""
    if not host or host == "localhost" or host.startswith("/"):
        return True
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return False


def is_local(url: str) -> bool:
    """Whether the server of `url` is reached on this machine only."""
    parts = urlsplit(url)
    host = parts.hostname or parse_qs(parts.query).get("host", [None])[0]
    return parts.scheme in ("unix", "redis+socket") or is_loopback(host)


def has_credentials(url: str) -> bool:
    """Whether `url` carries a password or a client's certificate."""
    parts = urlsplit(url)
    return bool(parts.password or {"password", "ssl_certfile"} & parse_qs(parts.query).keys())


def is_encrypted(url: str) -> bool:
    """Whether the connection is TLS."""
    return urlsplit(url).scheme in ("rediss", "amqps")


def require_readable(url: str) -> str:
    """`url`, if its parts can be told from each other.

    Raises:
        ValueError: they cannot, as when a password holds ``@``, ``:`` or ``/`` as it is. The text holds nothing of it.
    """
    try:
        parts = urlsplit(url)
        readable = parts.port != 0 and "@" not in parts.path and not parts.fragment
    except ValueError:
        readable = False
    if not readable:
        raise ValueError("not a URL: write @ : / ? # % in the user and the password as %40 %3A %2F %3F %23 %25")
    return url


def without_secrets(url: str) -> str:
    """`url` with its server and its database, and nothing that lets anybody in."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{host}{f':{parts.port}' if parts.port else ''}{parts.path}"
