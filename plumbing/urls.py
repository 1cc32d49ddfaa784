"""What a server's URL says about how exposed it is, and how it may be shown."""

import ipaddress
import os
from contextlib import suppress
from typing import Final
from urllib.parse import SplitResult, parse_qs, parse_qsl, urlencode, urlsplit, urlunsplit

REDIS_SCHEMES: Final = ("redis", "rediss")
POSTGRES_SCHEMES: Final = ("postgresql", "postgres")
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
    others = parse_qs(parts.query).get("host", [""])[0].split(",")
    hosts = [server.hostname for server in _servers(url) if server.hostname] or others
    return all(map(is_loopback, hosts))


def has_credentials(url: str) -> bool:
    """Whether `url` carries a password or a client's certificate."""
    parts = urlsplit(url)
    return bool(parts.password or {"password", "ssl_certfile"} & parse_qs(parts.query).keys())


def is_encrypted(url: str) -> bool:
    """Whether the connection is TLS."""
    return urlsplit(url).scheme in ("rediss", "amqps")


_FILES: Final = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "sslrootcert", "sslcert", "sslkey", "sslcrl")
"""The options of a URL that name a file: redis-py's, then libpq's."""


def unreadable_file(url: str) -> str:
    """Which file that `url` names cannot be read by this process, behind its option; empty: there is none."""
    query = parse_qs(urlsplit(url).query)
    files = [(option, path) for option in _FILES for path in query.get(option, ())]
    return next((f"{option} {path} cannot be read" for option, path in files if not os.access(path, os.R_OK)), "")


def require_readable(url: str) -> str:
    """`url`, if its parts can be told from each other.

    Raises:
        ValueError: they cannot, as when a password holds ``@``, ``:`` or ``/`` as it is. The text holds nothing of it.
    """
    try:
        parts = urlsplit(url)
        ports = [server.port for server in _servers(url)]
        readable = 0 not in ports and "@" not in parts.path and not parts.fragment
    except ValueError:
        readable = False
    if not readable:
        raise ValueError("not a URL: write @ : / ? # % in the user and the password as %40 %3A %2F %3F %23 %25")
    return url


_INSTEAD: Final = {
    "sentinel": (
        "Sentinel URLs are not taken: put a name before the servers that leads to the primary (HAProxy with a check "
        "for role:master, an address that Sentinel's client-reconfig-script moves), and give redis:// with that name"
    ),
    "cluster": "Redis Cluster is not supported: give redis:// with one server, or the name that leads to its primary",
    "socket": "sockets are not taken: give redis://127.0.0.1 with a port",
    "unix": "sockets are not taken: give redis://127.0.0.1 with a port",
}
_CERT_REQS: Final = ("required", "optional", "none")


def require_redis(url: str) -> str:
    """`url`, if it is one that every process can use; ``ssl_cert_reqs`` as redis-py and kombu both write it.

    Raises:
        ValueError: its scheme is another one; the text says what to give instead.
    """
    parts = urlsplit(url)
    if parts.scheme not in REDIS_SCHEMES:
        why = next((text for word, text in _INSTEAD.items() if word in parts.scheme), "give redis:// or rediss://")
        raise ValueError(why)
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    if "ssl_cert_reqs" not in query:
        return url
    wanted = query["ssl_cert_reqs"].lower().removeprefix("cert_")
    if wanted not in _CERT_REQS:
        raise ValueError(f"ssl_cert_reqs is one of {', '.join(_CERT_REQS)}")
    return urlunsplit(parts._replace(query=urlencode(query | {"ssl_cert_reqs": wanted}, safe="/")))


def require_postgres(url: str) -> str:
    """`url`, if it is one of PostgreSQL; raises ValueError, whose text says what to give instead."""
    if urlsplit(url).scheme not in POSTGRES_SCHEMES:
        raise ValueError("give postgresql://user:password@host:5432/database")
    return url


def require_broker(url: str) -> str:
    """`url`, if a queue can be on it; raises as `require_redis` does."""
    parts = urlsplit(url)
    if parts.scheme in RABBITMQ_SCHEMES:
        return url
    try:
        return require_redis(url)
    except ValueError as error:
        raise ValueError(f"{error}, or amqp:// or amqps://") from None


def without_secrets(url: str) -> str:
    """`url` with its server and its database, and nothing that lets anybody in."""
    parts = urlsplit(url)
    # Where libpq finds the server when it is not in front of the path.
    beside = urlencode([pair for pair in parse_qsl(parts.query) if pair[0] in {"host", "port"}], safe="/,:")
    return f"{parts.scheme}://{','.join(map(_shown, _servers(url)))}{parts.path}" + (beside and f"?{beside}")


def _servers(url: str) -> list[SplitResult]:
    """Each host with its port: a libpq URL may name several."""
    return [urlsplit(f"//{server}") for server in urlsplit(url).netloc.rpartition("@")[2].split(",")]


def _shown(server: SplitResult) -> str:
    host = server.hostname or ""
    host = f"[{host}]" if ":" in host else host
    return f"{host}:{server.port}" if server.port else host
