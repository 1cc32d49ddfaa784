"""What one worker process owns: an event loop in a thread, the engine, the Redis client, its leases and its reaper.

Celery runs no ``async def`` task, so the pool's threads hand their coroutine to this one loop and wait for it. One loop
means one engine and one pool of connections per process, made after any fork.
"""

import asyncio
import os
import socket
import threading
import uuid
from collections.abc import Coroutine
from typing import Any, TypeVar

import structlog
import uvloop
from celery import Celery
from redis.exceptions import RedisError

from contract.result_store import connect
from contract.settings import Settings
from worker.leases import Lease, Leases
from worker.reaper import Reaper
from worker.store.catalogue_reads import Catalogue
from worker.store.engine import make_engine
from worker.store.writes import Writer

T = TypeVar("T")
_log = structlog.get_logger(__name__)
_START_TIMEOUT_S = 30.0


class Runtime:
    """The per-process state of a worker. `start` and `stop` are called by Celery's signals in `worker.app`."""

    def __init__(self, settings: Settings, celery: Celery) -> None:
        self.settings = settings
        self.celery = celery
        self.name = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self.leases: dict[str, Lease] = {}
        self.loop: asyncio.AbstractEventLoop
        self._background: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Start the loop and everything that runs in it; returns when the process can work."""
        self.loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._run_loop, name="bksi-loop", daemon=True)
        self._thread.start()
        self.run(self._open(), timeout=_START_TIMEOUT_S)

    def stop(self) -> None:
        """Close the connections and the loop. Leases that are left run out by themselves."""
        self.run(self._close(), timeout=_START_TIMEOUT_S)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(_START_TIMEOUT_S)
        self.loop.close()

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
        self.engine = make_engine(settings)
        self.catalogue = Catalogue(self.engine, check_ms=settings.catalogue_check_ms)
        self.writer = Writer(self.engine)
        self.redis = connect(settings, connections=settings.worker_concurrency + 4)
        self.store = Leases(self.redis, settings)
        self.reaper = Reaper(self.store, self.engine, self.celery, settings)
        self._background = [
            asyncio.create_task(self._stay_alive()),
            asyncio.create_task(self.reaper.run()),
        ]

    async def _close(self) -> None:
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        await self.redis.zrem(self.store.keys.workers, self.name)
        await self.redis.aclose()
        await self.engine.dispose()

    async def _stay_alive(self) -> None:
        """Keep this process's leases: a lease that is not extended is anybody's after ``owner_ttl_ms``."""
        while True:
            try:
                await self.store.extend(self.name, list(self.leases.values()))
            except (RedisError, OSError) as error:
                _log.warning("leases not extended", error=type(error).__name__)
            await asyncio.sleep(self.settings.owner_ttl_ms / 4000)
