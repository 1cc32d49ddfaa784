"""The faults, each a function of the site, and the dice that choose among them."""

import asyncio
import random
import signal
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import asyncpg
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


@dataclass(frozen=True)
class Fault:
    """One that has happened. Times are `time.monotonic`; `ended_at` is when what it took was back, or could be."""

    kind: str
    target: str
    began_at: float
    ended_at: float


class Faults:
    """Throws dice and breaks things, each kind as often as its weight. `throw` is for one thread.

    Args:
        site: what is broken.
        seed: of the dice.
        known: request ids that were accepted so far, the newest last; their messages are delivered again.
        lease_s: how long a lease is, so that a frozen worker sleeps longer.
        is_control: whether Redis is set up to lose what it has accepted. Then most faults are losses of power: a second
            of writes holds few requests that nobody has finished.
    """

    def __init__(self, site: Site, seed: int, known: Sequence[str], lease_s: float, *, is_control: bool) -> None:
        self.done: list[Fault] = []
        self._site = site
        self._choose = random.Random(seed)  # noqa: S311
        # What goes on in the background has dice of its own: which fault comes next must not depend on how far it got.
        self._aside = random.Random(f"aside {seed}")  # noqa: S311
        self._known = known
        self._lease_s = lease_s
        self._server_kills = 0
        self._settings = Settings(redis_url=site.valkey.url)
        self._celery = make_celery(self._settings)
        self._background = ThreadPoolExecutor(thread_name_prefix="fault")
        self._under_way: dict[str, Future[None]] = {}
        self._healed = threading.Event()
        # What: its weight, what it takes away for a while ("" when it is over at once), how.
        self._kinds: dict[str, tuple[int, str, Callable[[], str]]] = {
            "kill worker": (24, "", lambda: self._kill(self._some(site.workers))),
            "kill worker at a step": (12, "", lambda: self._kill_at_step(self._some(site.workers), WORKER_STEPS)),
            "kill all workers": (2, "", self._kill_workers),
            "kill shim": (10, "", lambda: self._kill(self._some(site.shims))),
            "kill shim at a step": (4, "", lambda: self._kill_at_step(self._some(site.shims), SHIM_STEPS)),
            "freeze worker": (2, "worker", self._freeze),
            "freeze worker at a step": (2, "worker", self._freeze_at_step),
            "Redis loses power": (400 if is_control else 4, "redis", self._power_loss),
            "Redis restarts": (1, "redis", lambda: self._restart(site.valkey)),
            "Redis moves to its replica": (2, "redis", self._move_redis),
            "Redis is away": (1, "redis", self._outage),
            "Redis is read-only": (1, "redis", self._read_only),
            "Redis is full": (1, "redis", self._out_of_memory),
            "Redis connections go dead": (2, "", lambda: self._half_open(site.before_redis)),
            "Redis is slow": (1, "redis", lambda: self._slow(site.before_redis)),
            "PostgreSQL is killed": (2, "postgres", self._kill_postgres),
            "PostgreSQL restarts": (1, "postgres", lambda: self._restart(site.postgres)),
            "PostgreSQL ends its sessions": (2, "postgres", self._terminate),
            "PostgreSQL connections go dead": (2, "", lambda: self._half_open(site.before_postgres)),
            "PostgreSQL is slow": (1, "postgres", lambda: self._slow(site.before_postgres)),
            "commit without an answer": (3, "", self._lose_answer),
            "messages delivered again": (4, "", self._deliver_again),
            "reports deleted": (2, "", self._delete_reports),
        }

        if site.cmdb is not None:
            self._kinds |= {
                "CMDB is killed": (6, "cmdb", self._kill_cmdb),
                "kill worker at a step of a delivery": (
                    *(12, ""),
                    lambda: self._kill_at_step(self._some(site.workers), DELIVERY_STEPS),
                ),
            }

    @property
    def kills(self) -> int:
        """SIGKILLs so far, those at failpoints included."""
        return self._site.ends.kills + self._server_kills

    def throw(self) -> None:
        """One fault. What takes time goes on in the background; a second one of the same thing is not begun then."""
        names = list(self._kinds)
        weights = [self._kinds[name][0] for name in names]
        kind = self._choose.choices(names, weights)[0]
        _, takes, action = self._kinds[kind]
        if not takes:
            self._do(kind, action)
            return
        if (earlier := self._under_way.get(takes)) is not None:
            if not earlier.done():
                return
            earlier.result()
        self._under_way[takes] = self._background.submit(self._do, kind, action)

    def heal(self) -> None:
        """End every fault that goes on.

        Raises:
            ProcessFailed: a server did not come back.
        """
        self._healed.set()
        self._background.shutdown(wait=True)
        for fault in self._under_way.values():
            fault.result()
        self._site.before_redis.restore()
        self._site.before_postgres.restore()
        if self._site.cmdb is not None:
            self._site.cmdb.heal()
        self._celery.close()

    def _do(self, kind: str, action: Callable[[], str]) -> None:
        """Do it and write it down. An action tells what it hit; nothing when it could not."""
        began_at = time.monotonic()
        if target := action():
            self.done.append(Fault(kind, target, began_at, time.monotonic()))

    def _some(self, parts: Sequence[Part]) -> Part:
        return self._choose.choice(parts)

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
        step = self._choose.choice(steps)
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

    def _power_loss(self) -> str:
        self._site.valkey.kill()
        self._server_kills += 1
        self._site.valkey.start()
        return "redis"

    def _move_redis(self) -> str:
        self._site.move_redis(self._aside.uniform(*_BETWEEN_S))
        return "redis"

    def _kill_postgres(self) -> str:
        self._site.postgres.kill()
        self._server_kills += 1
        self._site.postgres.start()
        return "postgres"

    def _kill_cmdb(self) -> str:
        if self._site.cmdb is None:
            return ""
        self._site.cmdb.kill()
        self._server_kills += 1
        self._pause()
        self._site.cmdb.start()
        return "cmdb"

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

    def _read_only(self) -> str:
        with redis.Redis.from_url(self._site.valkey.url) as client:
            client.replicaof("127.0.0.1", 1)
            self._pause()
            client.replicaof("NO", "ONE")
        return "redis"

    def _out_of_memory(self) -> str:
        with redis.Redis.from_url(self._site.valkey.url) as client:
            client.config_set("maxmemory", "1mb")
            self._pause()
            client.config_set("maxmemory", "0")
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
        return f"{asyncio.run(_terminate_sessions(self._site.postgres.url))} sessions"

    def _lose_answer(self) -> str:
        after_commit = self._choose.random() < 0.5
        # The report is among the arguments of the one statement that writes and commits.
        self._site.before_postgres.lose_answer(b"statistics", after_commit=after_commit)
        return "committed" if after_commit else "not committed"

    def _deliver_again(self) -> str:
        ids = self._recent() * 5
        self._choose.shuffle(ids)
        messages = [build_message(self._celery, request_id, "again") for request_id in ids]
        return self._ask(lambda client: client.lpush(QUEUE_NAME, *messages)) if messages else ""

    def _delete_reports(self) -> str:
        keys = [Keys(self._settings.key_prefix).result(request_id) for request_id in self._recent()]
        # Where a request is unfinished there is no such key.
        return self._ask(lambda client: client.delete(*keys)) if keys else ""

    def _recent(self) -> list[str]:
        recent = self._known[-200:]
        return self._choose.sample(recent, min(5, len(recent)))

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


async def _terminate_sessions(dsn: str) -> int:
    connection = await asyncpg.connect(dsn)
    try:
        ended = await connection.fetch(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'bksi worker'"
        )
        return len(ended)
    finally:
        await connection.close()
