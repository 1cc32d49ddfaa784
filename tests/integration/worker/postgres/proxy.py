"""A TCP proxy in front of PostgreSQL that can go silent, as a network does that has lost its other end."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

_CHUNK = 65_536


class Proxy:
    """Forwards bytes both ways while nothing is set."""

    def __init__(self, dsn: str) -> None:
        self._url = urlsplit(dsn)
        self._tasks: set[asyncio.Task[None]] = set()
        self._clients: list[asyncio.StreamWriter] = []
        self.port = 0
        self.is_silent = False
        """Bytes in either direction vanish; connections stay open."""
        self.loses_answers = False
        """Requests arrive, answers vanish, and the client's connection is closed at the first of them."""

    @property
    def dsn(self) -> str:
        userinfo = self._url.netloc.rpartition("@")[0]
        return self._url._replace(netloc=f"{userinfo}@127.0.0.1:{self.port}").geturl()

    def say_shutdown(self) -> None:
        """What a server says to idle clients before it hangs up; the hanging up is yet to come."""
        fields = b"SFATAL\0VFATAL\0C57P01\0Mterminating connection due to administrator command\0\0"
        for client in self._clients:
            client.write(b"E" + (4 + len(fields)).to_bytes(4) + fields)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._clients.append(writer)
        to_server = await asyncio.open_connection(self._url.hostname, self._url.port)
        both = (self._requests(reader, to_server[1]), self._answers(to_server[0], writer))
        for pump in both:
            task = asyncio.create_task(pump)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _requests(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(_CHUNK):
                if not self.is_silent:
                    writer.write(data)
        writer.close()

    async def _answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(_CHUNK):
                if self.loses_answers:
                    break
                if not self.is_silent:
                    writer.write(data)
        writer.close()

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def proxy_to(dsn: str) -> AsyncIterator[Proxy]:
    proxy = Proxy(dsn)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        await proxy.close()
        await server.wait_closed()
