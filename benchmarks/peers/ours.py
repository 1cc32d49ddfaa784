"""This project, end to end: `Submitter.submit`, worker processes, `Submitter.wait`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import orjson

from api_shim.submitter import Submitter
from benchmarks.client import TIMEOUT_S, Failed
from benchmarks.shapes import BK_APP_CODE
from contract.answer.status import Status
from contract.message import Caller
from contract.request.parse import parse
from contract.settings import Settings

_CALLER = Caller(bk_app_code=BK_APP_CODE, bk_username="benchmark")


class Ours:
    """A calling service that has the submitter in its own process."""

    def __init__(self, submitter: Submitter) -> None:
        self._submitter = submitter

    async def submit(self, body: bytes) -> str:
        """Read the body and enqueue it."""
        parsed = parse(orjson.loads(body))
        return (await self._submitter.submit(parsed.batch, _CALLER, warnings=parsed.warnings)).request_id

    async def wait(self, request_id: str) -> None:
        """Until its report is stored."""
        report = await self._submitter.wait(request_id, BK_APP_CODE, TIMEOUT_S)
        if report.status is not Status.SUCCESS:
            raise Failed(repr(report.envelope()))


@asynccontextmanager
async def client() -> AsyncIterator[Ours]:
    """Connect to what the environment names."""
    async with Submitter.open(Settings()) as submitter:
        yield Ours(submitter)
