"""PgBouncer in front of the tests' PostgreSQL, for whoever has it: ``--pgbouncer /usr/sbin/pgbouncer``."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from devstack.privileges import unprivileged
from devstack.process import Guard, Process
from devstack.server import PLAIN_ENVIRONMENT, Server

Pooled = Callable[[str, str], str]


class PgBouncer(Server):
    """A pool for whoever connects, in front of the server of `dsn`."""

    name = "pgbouncer"

    def __init__(self, directory: Path, guard: Guard, *, program: Path, dsn: str, mode: str) -> None:
        super().__init__(directory, guard)
        self._program = program
        self._target = urlsplit(dsn)
        self._mode = mode

    @property
    def url(self) -> str:
        """libpq URL of the same database, through the pool."""
        return f"postgresql://anybody@127.0.0.1:{self.port}{self._target.path}?sslmode=disable"

    def _spawn(self, port: int) -> Process:
        target = self._target
        self.directory.chmod(0o755)
        config = self.directory / "pgbouncer.ini"
        config.write_text(
            f"[databases]\n* = host=127.0.0.1 port={target.port} user={target.username} password={target.password}\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n"
            f"pool_mode = {self._mode}\n"
        )
        command = [*unprivileged(), self._program, config]
        return Process(self.name, command, log=self.log, guard=self._guard, env=PLAIN_ENVIRONMENT)

    def _accepts(self) -> bool:
        return "process up" in (self.process.tail() if self.process else "")


@pytest.fixture
def pooled(request: pytest.FixtureRequest, guard: Guard, tmp_path: Path) -> Iterator[Pooled]:
    """``pooled(dsn, pool_mode)`` → the DSN of the same database through PgBouncer."""
    program: Path | None = request.config.getoption("--pgbouncer")
    if program is None:
        pytest.skip("needs PgBouncer: name it with --pgbouncer, or run `make test-matrix`")
    with ExitStack() as servers:

        def start(dsn: str, mode: str) -> str:
            pooler = PgBouncer(tmp_path / mode, guard, program=program, dsn=dsn, mode=mode)
            return servers.enter_context(pooler).url

        yield start
