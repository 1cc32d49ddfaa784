"""What one worker process owns: an event loop in a thread, the engine, the Redis client, its leases and its reaper.

Celery runs no ``async def`` task, so its pool (`worker.consumer.pool`) hands each one's coroutine to this one
loop. One loop means one engine and one pool of connections per process, made after any fork.
"""

import asyncio
import contextlib
import math
import os
import socket
import threading
import time
import uuid
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Final, TypeVar

import structlog
import uvloop
from celery import Celery
from redis.exceptions import RedisError

from contract.queue import Queue
from contract.redis.connection import connect
from contract.redis.safety import require_safe_redis
from contract.settings import Settings
from plumbing import traces
from plumbing.cancel import cancel_and_wait
from plumbing.outages import Outage
from worker.consumer.transport.channel import Channel
from worker.consumer.transport.link import Link
from worker.custody.leases import Lease, Leases
from worker.custody.queue import WorkerQueue
from worker.custody.reaper import Reaper
from worker.custody.watchdog import Watchdog
from worker.metrics import REDIS_SECONDS
from worker.postgres.catalogue_reads import Catalogue
from worker.postgres.engine import make_engine
from worker.postgres.errors import DatabaseError, DatabaseUnsuitable
from worker.postgres.fitness import rehearse, require_suitable
from worker.postgres.writer import Writer
from worker.serve_metrics import serve_metrics
from worker.walk.take import Intake

if TYPE_CHECKING:
    from worker.catalogue.cmdb import Cmdb
    from worker.catalogue.lookup import Lookup
    from worker.delivery.deliverer import Deliverer
    from worker.senders import Senders

T = TypeVar("T")
_log = structlog.get_logger(__name__)
_START_TIMEOUT_S: Final = 30.0
_EX_SOFTWARE: Final = 70
_END_AFTER_GRACE_S: Final = 9.0
_LOOK_S: Final = 0.2
_DELIVERY_TIMEOUT_S: Final = 30.0
"""CMDB's servers wait for each other for 25 s."""
_LOOKUP_TIMEOUT_S: Final = 5.0
"""A request waits for CMDB about as long, once, before it is answered without."""


class CmdbUnusable(Exception):
    """The CMDB that is configured cannot be asked; the text names the setting."""


class Runtime:
    """The per-process state of a worker. `start` and `stop` are called by Celery's signals in `worker.app`."""

    def __init__(self, settings: Settings, celery: Celery) -> None:
        self.settings = settings
        self.celery = celery
        self.name = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self.senders: Senders | None = None
        self.held_leases: dict[str, Lease] = {}
        """The leases this process holds, by token."""
        self.walks: set[asyncio.Task[Any]] = set()
        """What runs under these leases; cancelled, it gives its request back."""
        self.deliverer: Deliverer | None = None
        self.loop: asyncio.AbstractEventLoop
        self._background: list[asyncio.Task[None]] = []
        self._stopping = False
        self._redis_served = 0.0
        self._suits = False
        self._said_pause = False

    def start(self) -> None:
        """Start the loop and everything that runs in it; returns when the process can work.

        Raises:
            UnsafeRedis: see `contract.redis.safety`.
            TomlFileInvalid: the file of senders cannot be used.
        """
        if self.settings.senders_file:
            from worker.senders import Senders  # noqa: PLC0415 - brings cryptography along

            self.senders = Senders.load(self.settings.senders_file)
        self.loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._run_loop, name="bksi-loop", daemon=True)
        self._thread.start()
        self.run(self._open(), timeout=_START_TIMEOUT_S)
        threading.Thread(target=self._guard_loop, name="bksi-watchdog", daemon=True).start()
        self._metrics = serve_metrics(self)
        traces.configure("bksi-worker")

    def begin_to_stop(self) -> None:
        """From now on this process has half a minute to end, whatever it hangs in; what it leaves stays pending."""
        if not self._stopping:
            self._stopping = True
            if self.deliverer is not None:
                self.loop.call_soon_threadsafe(self.deliverer.break_off)
            last = threading.Timer(self.settings.shutdown_grace_s + _END_AFTER_GRACE_S, os._exit, (_EX_SOFTWARE,))
            last.daemon = True
            last.start()

    def stop(self) -> None:
        """Give back what still runs, close the connections and the loop."""
        self._stopping = True
        if self._metrics is not None:
            self._metrics.close()
        self.run(self._close(), timeout=_START_TIMEOUT_S)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(_START_TIMEOUT_S)
        self.loop.close()
        traces.close()

    @property
    def heartbeat_at(self) -> float:
        """When Redis last took this process's sign of life (seconds since 1970); 0: not yet."""
        return time.time() - time.monotonic() + self._redis_served if self._redis_served else 0.0

    def run(self, work: Coroutine[Any, Any, T], timeout: float | None = None) -> T:
        """Run a coroutine in the loop, from any other thread, and wait for it."""
        future = asyncio.run_coroutine_threadsafe(work, self.loop)
        try:
            return future.result(timeout)
        except TimeoutError:
            future.cancel()
            raise

    def _run_loop(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    async def _open(self) -> None:
        settings = self.settings
        await require_safe_redis(settings)
        self.engine = make_engine(settings, Outage("postgres", settings.postgres_dsn))
        self.spare = make_engine(settings, connections=1)
        self.writer = Writer(self.engine, first_id=settings.first_id)
        self.catalogue = Catalogue(self.engine, check_ms=settings.catalogue_check_ms, on_change=self.writer.drop_ids)
        self.lookup = self._open_lookup()
        self.redis = connect(settings, told=REDIS_SECONDS.observe)
        self.suspects = asyncio.Lock()
        self.full_lane = asyncio.Semaphore(settings.full_batches_at_once)
        self.leases = Leases(self.redis, settings)
        self.queue = WorkerQueue(self.leases, Queue(self.celery, settings))
        self.deliverer = self._open_deliverer()
        duties = () if self.deliverer is None else (self.deliverer.sweep,)
        self.reaper = Reaper(self.leases, self.spare, self.queue, settings, *duties)
        self.intake = Intake(self._rehearse)
        await self._try_out()
        self._background = [
            asyncio.create_task(self._stay_alive()),
            asyncio.create_task(self.reaper.run()),
            asyncio.create_task(self.intake.run()),
            *([asyncio.create_task(self._guard_consumer())] if settings.watchdog_s else []),
        ]

    def _open_lookup(self) -> "Lookup | None":
        if self.settings.cmdb_url is None:
            return None
        from worker.catalogue.lookup import Lookup  # noqa: PLC0415 - what a worker without a CMDB need not load

        return Lookup(self.engine, self._cmdb(_LOOKUP_TIMEOUT_S))

    def _open_deliverer(self) -> "Deliverer | None":
        settings = self.settings
        if not settings.delivers:
            return None
        from worker.delivery.bridge import Bridge  # noqa: PLC0415 - as above
        from worker.delivery.deliverer import Deliverer  # noqa: PLC0415

        self._cmdb(_DELIVERY_TIMEOUT_S)
        bridge = Bridge(lambda: self._cmdb(_DELIVERY_TIMEOUT_S))
        engine = make_engine(settings, connections=settings.deliveries_at_once + 1)
        return Deliverer(engine, bridge, self.leases, self.queue, settings)

    def _cmdb(self, timeout_s: float) -> "Cmdb":
        from worker.catalogue.cmdb import Cmdb, CmdbRefused  # noqa: PLC0415 - as above

        settings, secret = self.settings, self.settings.cmdb_authorization
        try:
            return Cmdb(
                settings.cmdb_url or "",
                None if secret is None else secret.get_secret_value(),
                supplier_account=settings.cmdb_supplier_account,
                timeout_s=timeout_s,
                give_up_after_s=timeout_s,
            )
        except CmdbRefused as error:
            raise CmdbUnusable(f"BKSI_CMDB_URL or BKSI_CMDB_AUTHORIZATION: {error}") from None

    async def _close(self) -> None:
        await cancel_and_wait(self._background)
        await self.hand_back_all()
        await self.writer.drain()
        with contextlib.suppress(RedisError, OSError):
            await self.leases.forget(self.name)
        if self.deliverer is not None:
            await self.deliverer.close()
        await self.redis.aclose()
        await self.engine.dispose()
        await self.spare.dispose()

    async def _try_out(self) -> None:
        """Begin with a pause while the database is away or refuses; what waiting does not mend ends the start."""
        try:
            await self._rehearse()
        except DatabaseUnsuitable:
            raise
        except DatabaseError as error:
            self.intake.pause(error)

    async def _rehearse(self) -> None:
        if not self._suits:
            await require_suitable(self.engine, self.spare)
            self._suits = True
        await rehearse(self.spare)

    async def hand_back_all(self) -> None:
        """Give up what runs, so that others go on at once instead of when the leases have run out."""
        walks = list(self.walks)
        for walk in walks:
            walk.cancel()
        if walks:
            await asyncio.wait(walks, timeout=2 * self.settings.redis_timeout_s + 1)

    async def _stay_alive(self) -> None:
        """Keep this process's leases: a lease that is not extended is anybody's after ``owner_ttl_ms``."""
        outage = Outage("redis", self.settings.redis_url)
        while True:
            try:
                await self.leases.extend(self.name, list(self.held_leases.values()))
                self._redis_served = time.monotonic()
                outage.is_over()
                await self._say_pause()
            except (RedisError, OSError) as error:
                outage.lasts(error)
            except Exception as error:  # noqa: BLE001 - without this loop every lease of this process runs out
                _log.error("leases not extended", error=type(error).__name__)
            await asyncio.sleep(self.settings.owner_ttl_ms / 4000)

    async def _say_pause(self) -> None:
        reason = self.intake.reason
        if reason or self._said_pause:
            await self.leases.note_pause(self.name, reason)
            self._said_pause = bool(reason)

    def _guard_loop(self) -> None:
        """Take no messages while the event loop does not run, and end this process when it does not for too long.

        Some task computes for ever then, and takes all others along. Counted in looks and not by the clock, so that a
        process that was only frozen is not ended when it goes on.
        """
        settings = self.settings
        looks, most = 0, settings.watchdog_s / _LOOK_S or math.inf
        ran = threading.Event()
        while looks < most and not self._stopping:
            # Without a loop that runs no lease is extended: what is taken would soon be somebody else's again.
            hangs = looks * _LOOK_S >= settings.owner_ttl_ms / 2000
            Channel.paused = hangs or bool(self.intake.reason)
            with contextlib.suppress(RuntimeError):  # it is closed: this process is about to end
                self.loop.call_soon_threadsafe(ran.set)
            time.sleep(_LOOK_S)
            looks = 0 if ran.is_set() else looks + 1
            ran.clear()
        if not self._stopping:
            _log.critical("the event loop does not run", seconds=round(looks * _LOOK_S))
            os._exit(_EX_SOFTWARE)

    async def _guard_consumer(self) -> None:
        """End this process when its consumer is deaf; its supervisor starts one that hears."""
        settings = self.settings
        await Watchdog(
            self.leases,
            settings.watchdog_s,
            redis_serves=lambda: time.monotonic() - self._redis_served < settings.owner_ttl_ms / 1000,
            has_room=lambda: not self.intake.reason and len(self.walks) < settings.worker_concurrency,
            heard=lambda: Link.heard,
        ).run()
        await self.hand_back_all()
        os._exit(_EX_SOFTWARE)
