"""One way to the queue, whether it is beside the pending entries or on a server of its own."""

from pathlib import Path

import pytest
import redis as redis_client

from contract.message import QUEUE_NAME, make_celery
from contract.queue import BrokerAway, Queue
from contract.settings import Settings
from devstack.process import Guard
from devstack.servers import Valkey

pytestmark = pytest.mark.anyio
ID = "0" * 32


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Written:
    """What was pushed with what is written, one entry for each time."""

    def __init__(self, *, is_new: bool = True) -> None:
        self.messages: list[bytes] = []
        self._is_new = is_new

    async def __call__(self, message: bytes) -> bool:
        self.messages.append(message)
        return self._is_new


def a_queue(**settings: str) -> Queue:
    given = Settings.model_validate(settings)
    return Queue(make_celery(given), given)


async def test_beside_the_entries_the_message_is_pushed_with_them() -> None:
    queue, written = a_queue(), Written()
    assert await queue.put(written, ID, "biz=1")
    await queue.ask(written, ID)
    await queue.reach()
    assert all(written.messages)
    assert len(written.messages) == 2


async def test_elsewhere_it_is_sent_after_them_and_only_where_it_is_wanted(guard: Guard, tmp_path: Path) -> None:
    with Valkey(tmp_path / "broker", guard) as broker, redis_client.Redis.from_url(broker.url) as client:
        queue, new, known = a_queue(broker_url=broker.url), Written(), Written(is_new=False)
        await queue.reach()
        assert await queue.put(new, ID, "biz=1")
        assert not await queue.put(known, ID, "biz=1")
        await queue.ask(new, ID)
        await queue.ask(known, ID)
        assert new.messages == known.messages == [b"", b""]
        assert client.llen(QUEUE_NAME) == 2


async def test_server_that_is_away_is_no_matter_of_what_is_pending() -> None:
    queue, written = a_queue(broker_url="redis://127.0.0.1:1/0"), Written()
    assert await queue.put(written, ID, "biz=1")
    with pytest.raises(BrokerAway):
        await queue.ask(written, ID)
