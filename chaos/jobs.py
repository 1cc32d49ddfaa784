"""Callers of jobs: they upload slowly, begin again under the same key when they are cut off, and poll to the end."""

import asyncio
import json
import random
import time
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from chaos.door import REPEATED, WAIT_S, Door, essential
from chaos.history import ToldJob
from chaos.model import BIZ, Batch, Instance, batch_of

NDJSON: Final = "application/x-ndjson"
_BATCH: Final = 100
_LINES_AT_ONCE: Final = 25
_PAUSE_S: Final = 0.1
"""Between two pieces of an upload, so that a job of a few hundred lines is on its way for a second or two."""
_CARRIED_ON: Final = 409
"""Another upload under the same key has taken over: ours of before, which the server still hears."""
_KEPT: Final = ("status", "code", "accepted_count", "outcomes")


@dataclass
class Uploader:
    """Uploads one job after the other until `is_over`."""

    door: Door
    is_over: Callable[[], bool]
    note: Callable[[str], None]
    told: dict[str, ToldJob]
    interrupted: list[str] = field(default_factory=list)
    """Keys of uploads that had to begin again."""

    async def run(self) -> None:
        """Upload, follow, retry what failed."""
        while not self.is_over():
            batch = random_job(self.door.choose)
            key = uuid.UUID(int=self.door.choose.getrandbits(128), version=4).hex
            job_id = await self._upload(key, batch)
            if job_id and (failed := await self._finish(job_id)):
                await self._retry(job_id, failed)

    async def _upload(self, key: str, batch: Batch) -> str:
        headers = {"Idempotency-Key": key, "Content-Type": NDJSON}
        while True:
            answer = await self.door.ask("POST", "/v1/jobs", headers, content=_slowly(batch))
            if answer is not None and answer.status_code == 202:
                return self._accepted(answer.json()["job_id"], batch)
            if answer is not None and answer.status_code not in (*REPEATED, _CARRIED_ON):
                self.note(f"POST /v1/jobs answered {answer.status_code}: {answer.text[:200]}")
                return ""
            self.interrupted.append(key)
            await self.door.again()

    async def _retry(self, job_id: str, failed: list[Instance]) -> None:
        answer = await self.door.insist("POST", f"/v1/jobs/{job_id}:retry", {}, repeated=(*REPEATED, _CARRIED_ON))
        if answer.status_code == 202:
            await self._finish(self._accepted(answer.json()["job_id"], Batch(tuple(failed))))
        else:
            self.note(f"retry of job {job_id} answered {answer.status_code}: {answer.text[:200]}")

    def _accepted(self, job_id: str, batch: Batch) -> str:
        self.told.setdefault(job_id, ToldJob(batch, time.monotonic()))
        return job_id

    async def _finish(self, job_id: str) -> list[Instance]:
        """Poll until it has ended, and remember what was told; the instances that are not there."""
        told = self.told[job_id]
        while True:
            answer = await self._get(f"/v1/jobs/{job_id}", {"Prefer": f"wait={WAIT_S}"})
            if answer is None:
                return []
            if (document := answer.json())["finished_at"]:
                break
        items = await self._get(f"/v1/jobs/{job_id}/items", {"Accept": NDJSON})
        if items is None:
            return []
        lines = [json.loads(line) for line in items.text.splitlines()]
        told.ended_at = told.ended_at or time.monotonic()
        told.reports.append(essential(document, _KEPT, lines))
        return [told.batch.instances[line["index"]] for line in lines if line["outcome"] in ("failed", "skipped")]

    async def _get(self, path: str, headers: Mapping[str, str]) -> Any:
        """The answer, however often it takes; None when it is one that may not be."""
        answer = await self.door.insist("GET", path, headers)
        if answer.status_code == 200:
            return answer
        self.note(f"GET {path} answered {answer.status_code}: {answer.text[:200]}")
        return None


def random_job(choose: random.Random) -> Batch:
    """Two to four batches of one module, the last one not full."""
    first = batch_of(_BATCH, choose)
    rest = [batch_of(_BATCH, choose, first.instances[0].bk_module_id) for _ in range(choose.randint(1, 3))]
    instances = [instance for batch in (first, *rest) for instance in batch.instances]
    return Batch(tuple(instances[: len(instances) - choose.randrange(_BATCH)]))


async def _slowly(batch: Batch) -> AsyncIterator[bytes]:
    """The body of ``POST /v1/jobs``, in pieces."""
    head = {"bk_biz_id": BIZ, "bk_module_id": batch.instances[0].bk_module_id}
    lines = [json.dumps(document).encode() + b"\n" for document in (head, *(i.document() for i in batch.instances))]
    for start in range(0, len(lines), _LINES_AT_ONCE):
        yield b"".join(lines[start : start + _LINES_AT_ONCE])
        await asyncio.sleep(_PAUSE_S)
