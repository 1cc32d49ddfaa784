"""The whole system, as a user starts it."""

from collections.abc import Iterator

import pytest

from devstack.running import RunningStack


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """One `bksi up` with the sample catalogue, shared by all tests of the run: stop nothing and break nothing in it."""
    with RunningStack.start(tmp_path_factory.mktemp("stack")) as running:
        yield running
