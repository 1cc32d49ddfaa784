"""The Redis of the pending entries and of the queue: what it keeps, whom it lets in, and who works on it."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import redis.asyncio as aioredis
from celery import Celery
from kombu.exceptions import KombuError
from redis.exceptions import AuthenticationError, NoPermissionError, RedisError
from redis.exceptions import ConnectionError as RedisConnectionError

from contract.redis.connection import WrongServer, connect
from contract.redis.durability import APPEND_ONLY, Durability, examine_durability
from contract.redis.health import Workers, describe, look_at_workers, write_probe
from contract.redis.records import Keys
from contract.redis.replay import DEFAULT_USER, MEND, Replay, examine_replay
from contract.redis.requests import Requests
from contract.redis.safety import CLUSTER_MEND, NEEDED_POLICY, SENTINEL_MEND, is_sentinel
from contract.settings import Settings
from plumbing.urls import is_encrypted, is_local, unreadable_file, without_secrets
from worker.commands.doctor.clocks import examine_clock
from worker.commands.doctor.finding import Finding, error, ok, skipped, warning

_OLDEST: Final = (7, 0)
_FULL: Final = 0.9
_DEFAULT_USER: Final = f"Off it keeps its rights, `{DEFAULT_USER}`: a restart replays the file as that user."
_WRITE_MEND: Final = (
    "READONLY: point the URL at the primary. OutOfMemoryError: raise maxmemory. MISCONF: make room on its disk. Not"
    " allowed: give this user the rights that SECURITY.md names."
)


async def examine_redis(settings: Settings) -> AsyncIterator[Finding]:
    """Look at every Redis in use. Nothing is changed, but for a key that lives for ten seconds."""
    for url in settings.redis_servers:
        has_entries = url == settings.redis_url
        client = connect(settings.model_copy(update={"redis_url": url}), connections=1)
        try:
            async for finding in _examine(client, url, "redis" if has_entries else "broker", settings):
                yield finding
            if has_entries:
                async for finding in _examine_entries(Requests(client, settings)):
                    yield finding
            if url == settings.broker:
                yield await _parked(Requests(client, settings))
        except (RedisError, OSError) as failure:
            yield error(
                "redis" if has_entries else "broker",
                f"{without_secrets(url)}: {unreadable_file(url) or _why(failure)}",
                "Start it, or correct BKSI_REDIS_URL and BKSI_BROKER_URL (user, password, host, port, TLS).",
            )
        finally:
            await client.aclose()


async def examine_other_broker(celery: Celery, settings: Settings) -> AsyncIterator[Finding]:
    """Look at a broker that is no Redis."""
    if settings.broker_is_rabbitmq:
        shown = without_secrets(settings.broker)
        try:
            await asyncio.to_thread(_reach, celery, settings.redis_timeout_s)
        except (KombuError, OSError) as failure:
            yield error("broker", f"{shown}: {type(failure).__name__}", "Start it, or correct BKSI_BROKER_URL.")
        else:
            yield ok("broker", shown)
        if not (is_local(settings.broker) or is_encrypted(settings.broker)):
            yield warning("broker TLS", f"{shown} is not encrypted", "Use amqps:// beyond one trusted network.")


def _reach(celery: Celery, timeout_s: float) -> None:
    with celery.connection_for_write(connect_timeout=timeout_s) as connection:
        connection.ensure_connection(max_retries=1)


def _why(failure: Exception) -> str:
    if isinstance(failure, AuthenticationError):
        return "the user or the password is wrong, or missing"
    if isinstance(failure, NoPermissionError):
        return "this user may not do that"
    if isinstance(failure, WrongServer):
        return str(failure).partition(":")[0]
    # redis-py names the server and what the system, or TLS, has against it.
    return str(failure) if isinstance(failure, RedisConnectionError) else type(failure).__name__


async def _examine(client: "aioredis.Redis", url: str, name: str, settings: Settings) -> AsyncIterator[Finding]:
    info: dict[str, Any] = await client.info()
    if is_sentinel(info):
        yield error(name, f"{without_secrets(url)} is a Sentinel", SENTINEL_MEND)
        return
    yield _server(info, url, name)
    yield await _write(client, name, settings)
    async for finding in _persistence(client, info, name):
        yield finding
    yield _replay(await examine_replay(client, settings, info), name)
    yield _eviction(info, name)
    if info.get("maxmemory") and info["used_memory"] > _FULL * info["maxmemory"]:
        yield error(
            f"{name} memory",
            f"{info['used_memory_human']} of {info['maxmemory_human']} are used",
            "Raise maxmemory, lower BKSI_RESULT_TTL_S, or start more workers: a full Redis refuses every submit.",
        )
    yield await _password(url, name, settings)
    yield await _user(client, name)
    if not (is_local(url) or is_encrypted(url)):
        yield warning(
            f"{name} TLS",
            f"{without_secrets(url)} is not encrypted",
            "Use rediss:// beyond one trusted network: requests and the password can be read on the way.",
        )

    async def now() -> datetime:
        seconds, micros = await client.time()
        return datetime.fromtimestamp(int(seconds) + int(micros) / 1e6, tz=UTC)

    yield await examine_clock(f"{name} clock", now)


def _server(info: dict[str, Any], url: str, name: str) -> Finding:
    version = str(info.get("valkey_version") or info["redis_version"])
    found = f"{describe(info)} at {without_secrets(url)}"
    if info.get("role") != "master":
        return error(name, found, "Point the URL at the primary: a replica takes no request.")
    if info.get("cluster_enabled"):
        return error(name, f"{found}, of a cluster", CLUSTER_MEND)
    if tuple(int(part) for part in version.split(".")[:2]) < _OLDEST:
        return error(name, found, "Use Redis 7.0 or newer, or Valkey.")
    return ok(name, found)


async def _write(client: "aioredis.Redis", name: str, settings: Settings) -> Finding:
    """Try, with a key that lives for ten seconds: that a server answers tells little of what it takes."""
    try:
        await write_probe(client, Keys(settings.key_prefix))
    except RedisError as failure:
        return error(f"{name} write", f"refused: {_why(failure)}", _WRITE_MEND)
    return ok(f"{name} write", "taken")


async def _persistence(client: "aioredis.Redis", info: dict[str, Any], name: str) -> AsyncIterator[Finding]:
    check = f"{name} persistence"
    if info.get("aof_last_write_status", "ok") != "ok":
        yield error(check, "the last write to the append-only file failed", "Make room on its disk.")
    match await examine_durability(client, info):
        case Durability.NOTHING as found:
            yield ok(check, found.value)
        case Durability.NOT_TOLD as found:
            yield skipped(check, found.value, "Allow this user +config|get, or look there.")
        case Durability.LAST_SECOND as found:
            yield warning(check, found.value, APPEND_ONLY)
        case found:
            yield error(check, found.value, APPEND_ONLY)


def _replay(replay: Replay, name: str) -> Finding:
    check = f"{name} restart"
    if replay is Replay.KEEPS:
        return ok(check, "gives back what was written")
    if replay is Replay.LOSES:
        return error(check, "the user `default` has no rights: a restart drops every accepted request", MEND)
    return warning(
        check,
        "the rights of the user `default` are not told: without them a restart drops every accepted request",
        f"Allow this user +acl|dryrun, and look again. {MEND}",
    )


def _eviction(info: dict[str, Any], name: str) -> Finding:
    policy = info.get("maxmemory_policy")
    if policy == NEEDED_POLICY:
        return ok(f"{name} eviction", NEEDED_POLICY)
    return error(
        f"{name} eviction",
        f"maxmemory-policy is {policy}: accepted requests are thrown away when memory is short",
        f"Set maxmemory-policy {NEEDED_POLICY}; neither server nor worker starts with another one.",
    )


async def _password(url: str, name: str, settings: Settings) -> Finding:
    """Knock without a password."""
    parts = urlsplit(url)
    bare = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    stranger = connect(settings.model_copy(update={"redis_url": bare}), connections=1)
    try:
        await stranger.ping()
    except (RedisError, OSError):
        return ok(f"{name} password", "nobody is let in without one")
    finally:
        await stranger.aclose()
    level = warning if is_local(url) else error
    return level(
        f"{name} password",
        "anybody who reaches it is let in",
        f"Set requirepass, or ACL users with the default user off; put user and password into the URL. {_DEFAULT_USER}",
    )


async def _user(client: "aioredis.Redis", name: str) -> Finding:
    check = f"{name} user"
    try:
        user = await client.acl_whoami()
    except RedisError:
        return skipped(check, "not told", "Allow this user +acl|whoami.")
    user = user.decode() if isinstance(user, bytes) else str(user)
    if user != "default":
        return ok(check, f"{user!r}, a user of its own")
    return warning(
        check,
        "the default user, who may do anything",
        "Make ACL users for server, worker, Flower and direct senders; SECURITY.md lists what each needs. "
        f"Turn this one off. {_DEFAULT_USER}",
    )


def _workers(workers: Workers) -> Finding:
    if not workers.alive:
        mend = "Start `bksi worker`, on this Redis and with the same BKSI_KEY_PREFIX."
        return error("workers", "none is alive", mend)
    if workers.paused:
        reasons = "; ".join(sorted(set(workers.paused.values())))
        return error(
            "workers",
            f"{len(workers.paused)} of {workers.alive} take no requests: {reasons}",
            "Mend it; they go on by themselves, and no start of a request is counted meanwhile.",
        )
    return ok("workers", f"{workers.alive} alive")


async def _examine_entries(requests: Requests) -> AsyncIterator[Finding]:
    """Who works, what waits, what was set aside."""
    keys = requests.keys
    yield _workers(await look_at_workers(requests))
    waiting = await requests.client.zcard(keys.pending)
    room = requests.settings.max_pending
    if waiting > _FULL * room:
        yield error(
            "queue", f"{waiting} of {room} requests are unfinished", "Start more workers; see `bksi_pending_requests`."
        )
    else:
        yield ok("queue", f"{waiting} requests are unfinished")
    buried = await requests.client.llen(keys.dead_letters)
    if buried:
        yield warning("dead letters", f"{buried} were set aside", "Look at them with `bksi dlq ls`.")
    else:
        yield ok("dead letters", "none")


async def _parked(requests: Requests) -> Finding:
    """Whether messages wait for workers newer than those that found them."""
    count = await requests.client.llen(requests.keys.parked)
    if not count:
        return ok("parked messages", "none")
    mend = "Start workers of the version that sent them. After seven days they are dead letters."
    return warning("parked messages", f"{count} are for a newer version of a task", mend)
