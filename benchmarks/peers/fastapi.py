"""FastAPI on uvicorn, two worker processes, inserting in the handler: no queue, so nothing outlives a crash.

With ``BENCH_GROUPED`` what it lacks of the project is the queue, and so it tells what the queue costs.
"""

import os
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import orjson
from fastapi import FastAPI, Request, Response

from benchmarks.client import Failed
from benchmarks.http import HttpClient
from benchmarks.peers.job import open_job
from contract.request.parse import parse


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with open_job() as job:
        app.state.job = job
        yield


app = FastAPI(lifespan=_lifespan)


@app.post("/create_service_instance")
async def create_service_instance(request: Request) -> Response:
    """Read, check, insert, answer."""
    batch = parse(orjson.loads(await request.body())).batch
    answer = await request.app.state.job.create(uuid.uuid4().hex, batch)
    return Response(answer, media_type="application/json")


class Direct:
    """A caller over HTTP with connections that stay open."""

    def __init__(self, http: HttpClient) -> None:
        self._http = http

    async def submit(self, body: bytes) -> str:
        """Send a request and read its answer."""
        status, answer = await self._http.post("/create_service_instance", body)
        if status != 200 or orjson.loads(answer)["result"] is not True:
            raise Failed(f"HTTP {status}: {answer[:500]!r}")
        return ""

    async def wait(self, request_id: str) -> None:
        """It has ended already."""


@asynccontextmanager
async def client() -> AsyncIterator[Direct]:
    """Connect to what the environment names."""
    async with HttpClient(int(os.environ["BENCH_HTTP_PORT"])) as http:
        await http.wait_until_up()
        yield Direct(http)
