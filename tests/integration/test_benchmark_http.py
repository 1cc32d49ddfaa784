"""The benchmarks' HTTP client beside a server that closes connections."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from benchmarks.http import HttpClient

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def server(answers: int) -> AsyncIterator[int]:
    """The port of a server that answers so many requests of a connection, and closes it when another is on its way."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError):
            for number in range(answers):
                await reader.readuntil(b"\r\n\r\n")
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d" % number)
            await reader.readuntil(b"\r\n\r\n")
        writer.close()
        await writer.wait_closed()
        ended.release()

    ended = asyncio.Semaphore(0)
    async with await asyncio.start_server(serve, "127.0.0.1", 0) as listening:
        yield listening.sockets[0].getsockname()[1]
        await ended.acquire()


async def test_connection_that_the_server_has_closed_is_replaced() -> None:
    async with server(answers=2) as port, HttpClient(port) as http:
        answers = [await http.request("GET", "/") for _ in range(5)]

    assert [body for _, body in answers] == [b"0", b"1", b"0", b"1", b"0"]


async def test_server_that_answers_nothing_is_an_error() -> None:
    async with server(answers=0) as port, HttpClient(port) as http:
        with pytest.raises(asyncio.IncompleteReadError):
            await http.request("GET", "/")
