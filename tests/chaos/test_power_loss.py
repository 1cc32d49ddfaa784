"""Redis loses power: with ``appendfsync always``, our default, nothing that was accepted is lost. Promise 1."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chaos.power import NoCompiler, PowerlessValkey, build
from devstack.process import Guard
from tests.chaos.system import System, bound, unbound

ROUNDS = 5
EACH = 20


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What makes a SIGKILL of Valkey drop every write that was not synced."""
    try:
        return build(tmp_path_factory.mktemp("power-loss"))
    except NoCompiler as missing:
        pytest.skip(f"{missing}: a power loss cannot be made here")


@pytest.fixture
def powerless(library: Path, guard: Guard, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[PowerlessValkey]:
    with PowerlessValkey(tmp_path / "redis", guard, library, appendfsync=request.param) as server:
        yield server


@pytest.mark.parametrize("powerless", ["always"], indirect=True)
def test_nothing_accepted_is_lost(
    open_system: Callable[[str, str], System], powerless: PowerlessValkey, dsn: str
) -> None:
    system = open_system(powerless.url, dsn)
    system.worker()
    for round_ in range(ROUNDS):
        system.submit_when_possible(
            *[unbound(host, name=f"round {round_}") for host in range(1, EACH + 1)], bound(round_ + 1)
        )
        powerless.kill()
        powerless.start()

    reports = system.all_succeed()

    assert len(reports) == ROUNDS * (EACH + 1)


@pytest.mark.parametrize("powerless", ["everysec"], indirect=True)
def test_with_everysec_accepted_requests_are_lost(
    open_system: Callable[[str, str], System], powerless: PowerlessValkey, dsn: str
) -> None:
    """The negative control: the test above could fail."""
    system = open_system(powerless.url, dsn)
    for _ in range(ROUNDS):
        system.submit_when_possible(*[bound(host) for host in range(1, EACH + 1)])
        powerless.kill()
        powerless.start()

    assert len(system.redis_keys("bksi:req:*")) < ROUNDS * EACH
