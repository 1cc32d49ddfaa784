"""The whole system, as a user starts it."""

import fcntl
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from chaos.nursery import Nursery
from devstack.process import Guard
from devstack.running import RunningStack
from tests.acceptance.pair import Pair, run_pair
from tests.acceptance.processes import family, left_of


@pytest.fixture(scope="session")
def stack(guard: Guard, tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Iterator[RunningStack]:
    """One `bksi up` with the sample catalogue, shared by all tests of the run: stop nothing and break nothing in it.

    The run's processes share it as well. Who comes first starts it, and stops it when nobody holds the users' lock.
    """
    temporary = tmp_path_factory.getbasetemp()
    directory = (temporary if worker_id == "master" else temporary.parent) / "stack"
    with Path(f"{directory}.users").open("w") as users, Path(f"{directory}.start").open("w") as start:
        fcntl.flock(users, fcntl.LOCK_SH)
        fcntl.flock(start, fcntl.LOCK_EX)
        is_there = (directory / "stack.json").exists()
        running = RunningStack.find(directory) if is_there else RunningStack.start(directory, guard=guard)
        fcntl.flock(start, fcntl.LOCK_UN)
        yield running
        if not is_there:
            fcntl.flock(users, fcntl.LOCK_EX)
            _stop(running, guard)


def _stop(stack: RunningStack, guard: Guard) -> None:
    """As SIGTERM does, which leaves nothing."""
    processes = family(stack)
    assert stack.stop() == 0, (stack.directory / "up.log").read_text()
    guard.forget(stack.supervisor.pid)
    assert left_of(processes) == []


@pytest.fixture(scope="session")
def open_pair(
    nursery: Nursery,
    guard: Guard,
    tmp_path_factory: pytest.TempPathFactory,
    clone_database: Callable[[str], str],
    catalogue_template: str,
) -> Callable[..., AbstractContextManager[Pair]]:
    """``with open_pair(BKSI_…="…") as pair:`` runs a server and a worker over a Redis and a database of their own."""

    def opener(**environment: str) -> AbstractContextManager[Pair]:
        dsn = clone_database(catalogue_template)
        return run_pair(nursery, guard, tmp_path_factory.mktemp("pair"), dsn, environment)

    return opener


@pytest.fixture(scope="session")
def pair(open_pair: Callable[..., AbstractContextManager[Pair]]) -> Iterator[Pair]:
    """One for this process of the run alone: nobody writes beside a test that counts all rows."""
    with open_pair() as opened:
        yield opened
