"""What breaks the site: each kind of fault is a function that tells what it hit, and nothing when it could not."""

import asyncio
import random
import signal
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import psutil
import redis
from redis.exceptions import RedisError

from chaos.nursery import Child
from chaos.proxy import FaultProxy
from chaos.site import Part, Site
from contract.message import QUEUE_NAME, build_message, make_celery
from contract.redis.records import Keys
from contract.settings import Settings
from devstack.server import Server
from devstack.sql import fetch

WORKER_STEPS: Final = (
    *("after_wake", "after_turn", "after_take", "after_adopt", "after_lease", "before_write", "before_commit"),
    *("after_write", "before_publish", "after_publish", "before_ack", "before_resend", "after_resend"),
)
DELIVERY_STEPS: Final = (
    *("before_delivery", "before_cmdb_call", "after_cmdb_call", "after_cmdb_ids", "before_told", "after_told"),
)
SHIM_STEPS: Final = ("before_submit", "after_submit", "after_job_begun")
_BETWEEN_S: Final = (1.0, 4.0)
"""How long a short outage lasts."""
_LONG_S: Final = 30.0
_STOPS_WITHIN_S: Final = 15.0
_READY_WITHIN_S: Final = 5.0
_SLOW_S: Final = 0.05


class FaultKind(NamedTuple):
    """`weight`: how often it comes. `takes`: what it takes away for a while, "" when it is over at once."""

    weight: int
    takes: str
    action: Callable[[], str]


class Breaking:
    """The faults of one site.

    `healed` is set when everything has to come to its end; the rest is as `chaos.faults.Faults` says.
    """

    def __init__(self, site: Site, seed: int, known: Sequence[str], lease_s: float, healed: threading.Event) -> None:
        self.server_kills = 0
        self.choose = random.Random(seed)  # noqa: S311
        self._site = site
        # What goes on in the background has dice of its own: which fault comes next must not depend on how far it got.
        self._aside = random.Random(f"aside {seed}")  # noqa: S311
        self._known = known
        self._lease_s = lease_s
        self._healed = healed
        self._settings = Settings(redis_url=site.valkey.url)
        self._celery = make_celery(self._settings)

    def close(self) -> None:
        """Nothing is broken any more."""
        self._celery.close()

    def kinds(self, *, is_control: bool) -> dict[str, FaultKind]:
        """All of them, by their names."""
        site = self._site
        kinds: dict[str, tuple[int, str, Callable[[], str]]] = {
            "kill worker": (24, "", lambda: self._kill(self._some(site.workers))),
            "kill worker at a step": (12, "", lambda: self._kill_at_step(self._some(site.workers), WORKER_STEPS)),
            "kill all workers": (2, "", self._kill_workers),
            "kill shim": (10, "", lambda: self._kill(self._some(site.shims))),
            "kill shim at a step": (4, "", lambda: self._kill_at_step(self._some(site.shims), SHIM_STEPS)),
            "freeze worker": (2, "worker", self._freeze),
            "freeze worker at a step": (2, "worker", self._freeze_at_step),
            "Redis loses power": (400 if is_control else 4, "redis", lambda: self._kill_server(site.valkey)),
            "Redis restarts": (1, "redis", lambda: self._restart(site.valkey)),
            "Redis moves to its replica": (2, "redis", self._move_redis),
            "Redis is away": (1, "redis", self._outage),
            "Redis is read-only": (1, "redis", lambda: self._while("REPLICAOF 127.0.0.1 1", "REPLICAOF NO ONE")),
            "Redis is full": (1, "redis", lambda: self._while("CONFIG SET maxmemory 1mb", "CONFIG SET maxmemory 0")),
            "Redis connections go dead": (2, "", lambda: self._half_open(site.before_redis)),
            "Redis is slow": (1, "redis", lambda: self._slow(site.before_redis)),
            "PostgreSQL is killed": (2, "postgres", lambda: self._kill_server(site.postgres)),
            "PostgreSQL restarts": (1, "postgres", lambda: self._restart(site.postgres)),
            "PostgreSQL ends its sessions": (2, "postgres", self._terminate),
            "PostgreSQL connections go dead": (2, "", lambda: self._half_open(site.before_postgres)),
            "PostgreSQL is slow": (1, "postgres", lambda: self._slow(site.before_postgres)),
            "commit without an answer": (3, "", self._lose_answer),
            "messages delivered again": (4, "", self._deliver_again),
            "reports deleted": (2, "", self._delete_reports),
        }

        if (cmdb := site.cmdb) is not None:
            kinds |= {
                "CMDB is killed": (6, "cmdb", lambda: self._kill_server(cmdb, stays_away=True)),
                "kill worker at a step of a delivery": (
                    *(12, ""),
                    lambda: self._kill_at_step(self._some(site.workers), DELIVERY_STEPS),
                ),
            }
        return {name: FaultKind(*kind) for name, kind in kinds.items()}

    def _some(self, parts: Sequence[Part]) -> Part:
        return self.choose.choice(parts)

    def _kill(self, part: Part) -> str:
        # A process that is still starting would be an easy prey.
        if not self._site.wait_ready(part, _READY_WITHIN_S):
            return ""
        self._site.kill(part)
        return part.name

    def _kill_workers(self) -> str:
        for worker in self._site.workers:
            self._site.kill(worker)
        return "all"

    def _kill_at_step(self, part: Part, steps: Sequence[str]) -> str:
        """Its successor dies the first time it comes by that step."""
        step = self.choose.choice(steps)
        part.armed = f"{step}=kill:1"
        return self._kill(part) and step

    def _freeze(self) -> str:
        part = self._aside.choice(self._site.workers)
        child = part.child
        child.signal(signal.SIGSTOP)
        self._sleep_over(child)
        return part.name

    def _freeze_at_step(self) -> str:
        """The worker's successor stops itself in mid-work, and is continued when its lease is somebody else's."""
        part = self._aside.choice(self._site.workers)
        step = self._aside.choice(("before_write", "after_write"))
        part.armed = f"{step}=stop:1"
        if not self._kill(part) or not self._site.wait_ready(part, _READY_WITHIN_S):
            return ""
        child = part.child
        self._wait_until_stopped(child)
        self._sleep_over(child)
        return step

    def _sleep_over(self, child: Child) -> None:
        self._healed.wait(self._lease_s + 3)
        child.signal(signal.SIGCONT)

    def _wait_until_stopped(self, child: Child) -> None:
        give_up_at = time.monotonic() + _STOPS_WITHIN_S
        while not _is_stopped(child.pid) and time.monotonic() < give_up_at and not self._healed.is_set():
            time.sleep(0.05)

    def _move_redis(self) -> str:
        self._site.move_redis(self._aside.uniform(*_BETWEEN_S))
        return "redis"

    def _kill_server(self, server: Server, *, stays_away: bool = False) -> str:
        server.kill()
        self.server_kills += 1
        if stays_away:
            self._pause()
        server.start()
        return server.name

    def _restart(self, server: Server) -> str:
        server.stop()
        self._pause()
        server.start()
        return server.name

    def _outage(self) -> str:
        """One in four lasts half a minute."""
        self._site.before_redis.refuse()
        if self._aside.random() < 0.25:
            self._healed.wait(_LONG_S)
        else:
            self._pause()
        self._site.before_redis.restore()
        return "redis"

    def _while(self, begin: str, end: str) -> str:
        """One command to Redis, and a while later another one that takes it back."""
        with redis.Redis.from_url(self._site.valkey.url) as client:
            client.execute_command(*begin.split())
            self._pause()
            client.execute_command(*end.split())
        return "redis"

    def _half_open(self, proxy: FaultProxy) -> str:
        proxy.cut_frozen()  # or a long run ends for want of file descriptors
        proxy.freeze_open()
        return f"{proxy.open_links} connections"

    def _slow(self, proxy: FaultProxy) -> str:
        proxy.delay(_SLOW_S)
        self._pause()
        proxy.delay(0)
        return f"{_SLOW_S * 2000:.0f} ms"

    def _terminate(self) -> str:
        ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'bksi worker'"
        return f"{len(asyncio.run(fetch(self._site.postgres.url, ended)))} sessions"

    def _lose_answer(self) -> str:
        after_commit = self.choose.random() < 0.5
        # The report is among the arguments of the one statement that writes and commits.
        self._site.before_postgres.lose_answer(b"statistics", after_commit=after_commit)
        return "committed" if after_commit else "not committed"

    def _deliver_again(self) -> str:
        ids = self._recent() * 5
        self.choose.shuffle(ids)
        messages = [build_message(self._celery, request_id, "again") for request_id in ids]
        return self._ask(lambda client: client.lpush(QUEUE_NAME, *messages)) if messages else ""

    def _delete_reports(self) -> str:
        keys = [Keys(self._settings.key_prefix).result(request_id) for request_id in self._recent()]
        # Where a request is unfinished there is no such key.
        return self._ask(lambda client: client.delete(*keys)) if keys else ""

    def _recent(self) -> list[str]:
        recent = self._known[-200:]
        return self.choose.sample(recent, min(5, len(recent)))

    def _ask(self, question: Callable[["redis.Redis"], object]) -> str:
        try:
            with redis.Redis.from_url(self._site.valkey.url, socket_timeout=2) as client:
                return str(question(client))
        except RedisError:
            return ""  # it is away just now

    def _pause(self) -> None:
        self._healed.wait(self._aside.uniform(*_BETWEEN_S))


def _is_stopped(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_STOPPED
    except psutil.NoSuchProcess:
        return False
