"""Callers who do what callers should: repeat what was not answered, under the same key, and poll to the end."""

import asyncio
import random
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

import httpx2
from celery import Celery

from chaos.door import REPEATED, WAIT_S, Door, essential
from chaos.history import Told, ToldJob
from chaos.jobs import Uploader
from chaos.model import Batch, Instance, random_batch
from contract.message import QUEUE_NAME, TASK_NAME, make_celery
from contract.settings import Settings

_CALLERS: Final = 40
_MOST_WRONG: Final = 50
_UNKNOWN_FOR_S: Final = 120.0
_ASKED_AT_LAST: Final = 200
_UNKNOWN_HOST: Final = 404
_DIRECT, _TWICE, _REFUSED, _POLLED_AGAIN = 0.1, 0.1, 0.03, 0.05
_KEPT: Final = ("status", "code", "data", "statistics")


@dataclass
class Load:
    """Callers, each of whom has one request open at a time, and one more who uploads jobs.

    Attributes:
        urls: the shims; any of them will do.
        broker: Redis URL for bare Celery messages.
        seed: of what is asked for. When it is asked for depends on the machine.
        per_s: requests a second that they make together while nothing is wrong.
    """

    urls: Sequence[str]
    broker: str
    seed: int
    per_s: float = 10.0
    told: dict[str, Told] = field(default_factory=dict)
    """Everything accepted, by request_id."""
    known: list[str] = field(default_factory=list)
    """The same ids, in the order of their acceptance."""
    wrong: list[str] = field(default_factory=list)
    """What no answer may ever be."""
    kinds: dict[str, int] = field(default_factory=dict)
    direct: set[str] = field(default_factory=set)
    jobs: dict[str, ToldJob] = field(default_factory=dict)
    """Every job accepted, by job_id."""
    interrupted: list[str] = field(default_factory=list)
    """A key for each time that an upload had to begin again."""
    _over: asyncio.Event = field(default_factory=asyncio.Event)

    def stop(self) -> None:
        """Begin nothing new; what is open is still brought to its end."""
        self._over.set()

    async def run(self) -> None:
        """Call until stopped, and until everything open has ended."""
        async with httpx2.AsyncClient(timeout=WAIT_S + 10) as client:
            celery = make_celery(Settings(redis_url=self.broker))
            try:
                async with asyncio.TaskGroup() as group:
                    for number in range(_CALLERS):
                        caller = _Caller(self, self._door(str(number), client), celery)
                        group.create_task(caller.run())
                    door = self._door("job 0", client)
                    uploader = Uploader(door, self._over.is_set, self.note, self.jobs, self.interrupted)
                    group.create_task(uploader.run())
                for request_id in random.sample(self.known, min(_ASKED_AT_LAST, len(self.known))):
                    await caller.finish(request_id)
            finally:
                celery.close()

    def _door(self, name: str, client: httpx2.AsyncClient) -> Door:
        return Door(self.urls, random.Random(f"{self.seed} {name}"), client)  # noqa: S311

    async def pause(self, seconds: float) -> None:
        """Wait, but not longer than until `stop`."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._over.wait(), seconds)

    @property
    def is_over(self) -> bool:
        """Whether nothing new is begun."""
        return self._over.is_set()

    def note(self, wrong: str) -> None:
        """Remember an answer that may not be; the first ones are enough."""
        if len(self.wrong) < _MOST_WRONG:
            self.wrong.append(wrong)

    def accepted(self, request_id: str, batch: Batch, kind: str) -> None:
        """Somebody was told that it is."""
        if request_id not in self.told:
            self.told[request_id] = Told(batch, time.monotonic())
            self.known.append(request_id)
            self.kinds[kind] = self.kinds.get(kind, 0) + 1


class _Refused(Exception):
    """A submit had an answer that repeating it will not change."""


class _Caller:
    def __init__(self, load: Load, door: Door, celery: Celery) -> None:
        self._load = load
        self._door = door
        self._choose = door.choose
        self._celery = celery

    async def run(self) -> None:
        mean_s = _CALLERS / self._load.per_s
        while not self._load.is_over:
            await self._load.pause(self._choose.expovariate(1 / mean_s))
            with suppress(_Refused):
                await self._call()

    async def _call(self) -> None:
        """One request from its submission to its end, and what may follow."""
        refused, direct, twice = (self._choose.random() for _ in range(3))
        batch = Batch((Instance(60, _UNKNOWN_HOST),)) if refused < _REFUSED else random_batch(self._choose)
        key = uuid.UUID(int=self._choose.getrandbits(128), version=4).hex
        if direct < _DIRECT:
            await self._send(key, batch)
            request_id = key
        else:
            request_id = await self._submit(key, batch, copies=2 if twice < _TWICE else 1)
        status = await self.finish(request_id)
        if self._choose.random() < _POLLED_AGAIN and self._load.known:
            await self.finish(self._choose.choice(self._load.known[-200:]))
        if status == "FAILED":
            await self.finish(await self._retry(request_id, batch))

    async def _submit(self, key: str, batch: Batch, copies: int) -> str:
        """POST until it is accepted, more than once at the same time if `copies` says so."""
        answers = await asyncio.gather(*(self._post("/v1/batches", key, batch) for _ in range(copies)))
        if len({answer["request_id"] for answer in answers}) > 1:
            self._load.note(f"one idempotency key, several requests: {[answer['request_id'] for answer in answers]}")
        for answer in answers:
            self._load.accepted(answer["request_id"], batch, "small" if len(batch.instances) == 1 else "of a hundred")
        return str(answers[0]["request_id"])

    async def _retry(self, request_id: str, batch: Batch) -> str:
        """Ask for the same again, as a new request."""
        answer = await self._post(f"/v1/batches/{request_id}:retry", "", None)
        self._load.accepted(answer["request_id"], batch, "retry of a failed one")
        return str(answer["request_id"])

    async def _post(self, path: str, key: str, batch: Batch | None) -> Mapping[str, Any]:
        headers = {"Idempotency-Key": key} if key else {}
        answer = await self._door.insist("POST", path, headers, batch.body() if batch else None)
        if answer.status_code not in (200, 202):
            self._load.note(f"POST {path} answered {answer.status_code}: {answer.text[:200]}")
            raise _Refused
        document: Mapping[str, Any] = answer.json()
        return document

    async def _send(self, request_id: str, batch: Batch) -> None:
        """A service without our code, with plain Celery: the same message again until the broker has taken it."""
        kwargs = {"request_id": request_id, "batch": batch.body()}
        while True:
            try:
                await asyncio.to_thread(
                    self._celery.send_task, TASK_NAME, kwargs=kwargs, task_id=request_id, queue=QUEUE_NAME
                )
            except Exception:  # noqa: BLE001 - kombu raises AttributeError, too, when its connection breaks just then
                await self._door.again()
            else:
                self._load.direct.add(request_id)
                self._load.accepted(request_id, batch, "bare Celery message")
                return

    async def finish(self, request_id: str) -> str:
        """Poll until it has ended, and remember what was told; the status, or nothing for a request that is lost."""
        told, give_up_at = self._load.told[request_id], float("inf")
        while True:
            answer = await self._door.ask("GET", f"/v1/batches/{request_id}", {"Prefer": f"wait={WAIT_S}"})
            if answer is None or answer.status_code in REPEATED:
                await self._door.again()
            elif answer.status_code == 200 and "Retry-After" not in answer.headers:
                told.ended_at = told.ended_at or time.monotonic()
                told.reports.append(essential(report := answer.json(), _KEPT, report["items"]))
                return str(told.reports[-1]["status"])
            elif answer.status_code != 200:
                # Of a bare message nobody but the queue knows until a worker has adopted it, which faults may put off.
                if self._load.is_over:
                    give_up_at = min(give_up_at, time.monotonic() + _UNKNOWN_FOR_S)
                may_wait = answer.status_code == 404 and request_id in self._load.direct and not told.reports
                if not may_wait or time.monotonic() > give_up_at:
                    self._load.note(f"GET of {request_id} answered {answer.status_code}: {answer.text[:200]}")
                    return ""
                await self._door.again()
