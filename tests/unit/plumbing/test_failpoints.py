"""Failpoints: nothing when unset, exact when set."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from plumbing import failpoints
from plumbing.failpoints import FailpointReached, arm, async_failpoint, failpoint


@pytest.fixture(autouse=True)
def _disarmed() -> Iterator[None]:
    yield
    arm("")


def test_unset_does_nothing() -> None:
    failpoint("after_lease")
    asyncio.run(async_failpoint("after_lease"))


def test_raise_acts_as_often_as_told() -> None:
    arm("after_lease=raise:2")
    for _ in range(2):
        with pytest.raises(FailpointReached):
            failpoint("after_lease")
    failpoint("after_lease")
    failpoint("before_publish")


def test_subject_limits_to_one_request() -> None:
    arm("after_lease@abc=memory")
    asyncio.run(async_failpoint("after_lease", "def"))
    with pytest.raises(MemoryError):
        asyncio.run(async_failpoint("after_lease", "abc"))


def test_hold_waits_for_the_release(tmp_path: Path) -> None:
    arm("before_publish=hold", tmp_path)
    held = threading.Thread(target=failpoint, args=("before_publish",))
    held.start()
    while not (tmp_path / "before_publish.1").exists():
        assert held.is_alive()
    assert held.is_alive()
    (tmp_path / "before_publish.go").touch()
    held.join(10)
    assert not held.is_alive()


@pytest.mark.parametrize(
    "specification",
    [
        "after_lunch=kill",
        "after_lease=explode",
        "after_lease",
        "after_lease=sleep",
        "after_lease=kill:1:1",
        "after_lease=hold",
        "after_lease=kill:often",
    ],
)
def test_malformed_specification_is_refused(specification: str) -> None:
    with pytest.raises(ValueError, match="failpoint"):
        arm(specification)
    assert not failpoints._armed
