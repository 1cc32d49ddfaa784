"""A small HTTP/1.1 client for load: connections that stay open, JSON in, bytes out.

A general client costs more CPU for a request than the servers under test, and would be what is measured.
"""

import asyncio
from contextlib import suppress
from typing import Final, Self

_HOST: Final = "127.0.0.1"
_UP_WITHIN_S: Final = 60.0


class HttpClient:
    """Of a server on this machine. As many connections as there are requests at once; each stays open for the next."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._free: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def __aenter__(self) -> Self:
        """Connect later, when something is sent."""
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Close what is open."""
        for _, writer in self._free:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async def wait_until_up(self) -> None:
        """Until somebody listens on the port."""
        async with asyncio.timeout(_UP_WITHIN_S):
            while True:
                try:
                    self._free.append(await asyncio.open_connection(_HOST, self._port))
                except OSError:
                    await asyncio.sleep(0.05)
                else:
                    return

    async def post(self, path: str, body: bytes, headers: dict[str, str] | None = None) -> tuple[int, bytes]:
        """Status and body of the answer."""
        return await self.request("POST", path, body, headers)

    async def request(
        self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> tuple[int, bytes]:
        """Send one request; status and body of the answer."""
        more = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: {_HOST}:{self._port}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n{more}\r\n"
        )
        while True:
            is_new, reader, writer = await self._connection()
            try:
                writer.write(head.encode() + body)
                answer = await _read(reader)
            except (asyncio.IncompleteReadError, ConnectionError):
                writer.close()
                # A server closes what was idle for long, perhaps in the moment in which it is used again.
                if is_new:
                    raise
            except BaseException:
                writer.close()
                raise
            else:
                self._free.append((reader, writer))
                return answer

    async def _connection(self) -> tuple[bool, asyncio.StreamReader, asyncio.StreamWriter]:
        """Whether it is a new one, and its two ends."""
        while self._free:
            reader, writer = self._free.pop()
            if not reader.at_eof():
                return False, reader, writer
            writer.close()
        return True, *await asyncio.open_connection(_HOST, self._port, limit=2**20)


async def _read(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
    status = int(head[0].split(" ")[1])
    if headers.get("transfer-encoding") == "chunked":
        raise ValueError("the server sent chunks, which no server here does")
    return status, await reader.readexactly(int(headers.get("content-length", 0)))
