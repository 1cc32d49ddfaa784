from typing import Any

import pytest
from structlog.testing import capture_logs

from plumbing.outages import Outage


def test_outage_is_said_once_and_its_end_once_without_a_secret() -> None:
    with capture_logs() as said:
        outage = Outage("redis", "redis://bksi:CANARY@cache:6379/0")
        outage.is_over()
        for _ in range(3):
            outage.lasts(ConnectionRefusedError("CANARY"))
        for _ in range(3):
            outage.is_over()
        outage.lasts(TimeoutError())
    assert [line["event"] for line in said] == ["redis is away", "redis is back", "redis is away"]
    assert said[0] == {
        "event": "redis is away",
        "address": "redis://cache:6379/0",
        "error": "ConnectionRefusedError",
        "log_level": "error",
    }
    assert "CANARY" not in repr(said)


def test_block_that_fails_begins_it_and_one_that_succeeds_ends_it() -> None:
    def fail() -> Any:
        raise OSError

    with capture_logs() as said:
        outage = Outage("postgres", "postgresql://db/bksi")
        with pytest.raises(OSError), outage.watched():
            fail()
        with outage.watched():
            pass
    assert [line["event"] for line in said] == ["postgres is away", "postgres is back"]
