"""The HTTP application in this process, over a real Redis protocol server. No worker runs: requests stay unfinished."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis as redis_client

from contract.redis.records import Keys, Note
from contract.settings import Settings
from devstack import sample
from tests.integration.api_shim.http.door_client import Client


@pytest.fixture
def open_door(redis_url: str, redis: "redis_client.Redis") -> Iterator[Callable[..., Client]]:
    """``open_door(peer="127.0.0.1", **settings)`` → a `Client`; compat paths do not wait unless told to."""
    opened: list[Client] = []

    def opener(peer: str = "127.0.0.1", **settings: Any) -> Client:
        client = Client(Settings(**{"redis_url": redis_url, "compat_wait_s": 0.0, **settings}), peer)
        opened.append(client)
        return client

    yield opener
    for client in opened:
        client.close()


@pytest.fixture
def door(open_door: Callable[..., Client]) -> Client:
    return open_door()


@pytest.fixture
def unknown_id(redis: "redis_client.Redis") -> str:
    """A request_id that a worker has looked up in PostgreSQL, without finding it."""
    request_id = "0" * 32
    redis.set(Keys("bksi:").unknown(request_id), Note().dump())
    return request_id


@pytest.fixture
def seed() -> dict[str, Any]:
    """The documented example request."""
    body: dict[str, Any] = json.loads(sample.REQUEST.read_bytes())
    return body


@pytest.fixture
def apps_file(tmp_path: Path) -> Callable[..., Path]:
    """``apps_file(text)`` → the path of a file of applications."""

    def write(text: str) -> Path:
        path = tmp_path / "apps.toml"
        path.write_text(text)
        return path

    return write
