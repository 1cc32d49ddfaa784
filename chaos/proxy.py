"""A TCP relay on loopback in front of a server, which can be told to misbehave in the ways networks do."""

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Self

_CHUNK: Final = 65_536
_READY_FOR_QUERY: Final = b"Z\0\0\0\5"
"""How PostgreSQL ends the answer to a statement; one byte with the transaction's state follows."""


@dataclass(eq=False)
class _Link:
    """One client's connection and ours to the server."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    is_frozen: bool = False
    swallows_answers: bool = False
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def freeze(self) -> None:
        """Let nothing more through, without a word."""
        self.is_frozen = True

    def cut(self) -> None:
        """End both sides with a reset."""
        for writer in (self.client, self.server):
            with contextlib.suppress(OSError):  # it is closed already
                connection = writer.get_extra_info("socket")
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        self.ended.set()


class FaultProxy:
    """Listens on a free port of 127.0.0.1 and relays to `target_port`. Everything may be called from any thread.

    Use it as a context manager.
    """

    def __init__(self, target_port: int) -> None:
        self.port = 0
        self._target_port = target_port
        self._links: set[_Link] = set()
        self._refuses = False
        self._freezes = False
        self._delay_s = 0.0
        self._pattern: bytes | None = None
        self._after_commit = True
        self._lost = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault-proxy", daemon=True)

    def __enter__(self) -> Self:
        """Listen."""
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(self._serve, "127.0.0.1", 0), self._loop
        ).result()
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *exc: object) -> None:
        """Cut everything and stop."""

        async def stop() -> None:
            self._server.close()
            for link in list(self._links):
                link.cut()
            # Not cancelled, which asyncio would complain about: each ends by itself once its link is cut.
            while others := asyncio.all_tasks() - {asyncio.current_task()}:
                for link in list(self._links):
                    link.cut()
                await asyncio.wait(others, timeout=0.1)

        asyncio.run_coroutine_threadsafe(stop(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def open_links(self) -> int:
        """How many connections are relayed now."""
        return len(self._links)

    def move(self, target_port: int) -> None:
        """Relay new connections to another server; the open ones stay, as behind a name or a Kubernetes Service."""
        self._target_port = target_port

    def cut(self) -> None:
        """Reset every open connection; new ones are relayed."""
        self._each(_Link.cut)

    def refuse(self) -> None:
        """Reset every connection, open and new, until `restore`."""
        self._refuses = True
        self.cut()

    def freeze_open(self) -> None:
        """Let nothing more through on the open connections, without a word to anybody; new ones are relayed."""
        self._each(_Link.freeze)

    def cut_frozen(self) -> None:
        """Reset the connections that are frozen, as a peer's keepalive does in the end."""
        self._each(lambda link: link.cut() if link.is_frozen else None)

    def freeze(self) -> None:
        """Let nothing through on any connection, open or new, until `restore`; the open ones stay dead."""
        self._freezes = True
        self.freeze_open()

    def delay(self, seconds: float) -> None:
        """Hold back everything for so long, each way."""
        self._delay_s = seconds

    def restore(self) -> None:
        """Relay new connections again, at once."""
        self._refuses = self._freezes = False
        self._delay_s = 0.0

    def lose_answer(self, pattern: bytes, *, after_commit: bool = True) -> threading.Event:
        """Cut the connection on which `pattern` is next sent, so that its sender never learns what came of it.

        Args:
            pattern: bytes of a statement's arguments.
            after_commit: cut when PostgreSQL has answered, so that it is done. Else before it is passed on, so that
                it is not.

        Returns:
            Set once it has been cut.
        """
        self._lost = threading.Event()
        self._after_commit = after_commit
        self._pattern = pattern
        return self._lost

    def _each(self, action: Callable[[_Link], None]) -> None:
        async def act() -> None:
            for link in list(self._links):
                action(link)

        asyncio.run_coroutine_threadsafe(act(), self._loop).result()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            from_server, to_server = await asyncio.open_connection("127.0.0.1", self._target_port)
        except OSError:
            writer.transport.abort()
            return
        link = _Link(writer, to_server, is_frozen=self._freezes)
        self._links.add(link)
        if self._refuses:
            link.cut()
        pumps = [
            asyncio.create_task(self._pump(reader, to_server, link, self._forward)),
            asyncio.create_task(self._pump(from_server, writer, link, self._answer)),
        ]
        await link.ended.wait()
        for pump in pumps:
            pump.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)
        self._links.discard(link)
        writer.close()
        to_server.close()

    async def _pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        link: _Link,
        hook: Callable[[bytes, _Link], bool],
    ) -> None:
        try:
            while data := await reader.read(_CHUNK):
                if self._delay_s:
                    await asyncio.sleep(self._delay_s)
                if link.is_frozen:
                    await link.ended.wait()
                if hook(data, link):
                    writer.write(data)
                    await writer.drain()
        except OSError:
            pass
        finally:
            if not link.is_frozen:
                link.ended.set()

    def _forward(self, data: bytes, link: _Link) -> bool:
        if self._pattern is None or self._pattern not in data:
            return True
        self._pattern = None
        if self._after_commit:
            link.swallows_answers = True
            return True
        link.cut()
        self._lost.set()
        return False

    def _answer(self, data: bytes, link: _Link) -> bool:
        if not link.swallows_answers:
            return True
        if data[-6:-1] == _READY_FOR_QUERY:
            link.cut()
            self._lost.set()
        return False
