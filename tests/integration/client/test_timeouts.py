"""A timeout holds, whatever the server does."""

import asyncio
import socket
import threading
from collections.abc import Iterator

import pytest

from bksi_client import AsyncClient, Client, StillRunning, Unanswered

ID = "a" * 32


@pytest.fixture
def silent() -> Iterator[str]:
    """A server that takes connections, and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def trickling() -> Iterator[str]:
    """A server that never ends its answer, and never pauses for long: each read is answered in time."""
    stop = threading.Event()
    server = socket.create_server(("127.0.0.1", 0))

    def trickle() -> None:
        while not stop.is_set():
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection:
                while not stop.wait(0.02):
                    try:
                        connection.sendall(b"HTTP/1.1 200 OK\r\nX: y" if not stop.is_set() else b"")
                    except OSError:
                        break

    thread = threading.Thread(target=trickle)
    thread.start()
    yield f"http://127.0.0.1:{server.getsockname()[1]}"
    stop.set()
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    thread.join()


@pytest.fixture
def away() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture(params=["silent", "trickling", "away"])
def bad_server(request: pytest.FixtureRequest) -> str:
    url: str = request.getfixturevalue(request.param)
    return url


# That these tests end is what they show: nothing else would end the waiting.
def test_timeout_holds(bad_server: str) -> None:
    with Client(bad_server, patience_s=3600) as client:
        with pytest.raises(StillRunning) as running:
            client.operation(ID, "mine").result(timeout=0.1)
        assert (running.value.request_id, running.value.idempotency_key) == (ID, "mine")
        with pytest.raises(Unanswered):
            client.with_options(timeout=0.1).poll(ID)


def test_timeout_holds_awaited(bad_server: str) -> None:
    async def scenario() -> None:
        async with AsyncClient(bad_server, patience_s=3600) as client:
            with pytest.raises(StillRunning):
                await client.operation(ID).result(timeout=0.1)
            with pytest.raises(Unanswered):
                await client.with_options(timeout=0.1).poll(ID)

    asyncio.run(scenario())
