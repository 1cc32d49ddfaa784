"""`make test-matrix`: the integration ring against Debian's PostgreSQL, PgBouncer, Redis and RabbitMQ, not wheels.

What is missing is installed by apt, which takes root; no service is started, and every server that a test starts ends
with it. Where that cannot be, it says why and ends with exit code 0.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

PACKAGES: Final = ("postgresql", "pgbouncer", "redis-server", "rabbitmq-server")
REDIS: Final = Path("/usr/bin/redis-server")
RABBITMQ: Final = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
PGBOUNCER: Final = Path("/usr/sbin/pgbouncer")
POLICY: Final = Path("/usr/sbin/policy-rc.d")


class CannotInstall(Exception):
    """The servers are not here and cannot be had; the text says why."""


def main(arguments: list[str]) -> int:
    """Install what is missing, run the tests, all or those named; pytest's exit code, or 0 with a word on stderr."""
    try:
        postgres = servers()
    except CannotInstall as why:
        sys.stderr.write(f"test-matrix skipped: {why}\n")
        return 0
    subprocess.run(["dpkg-query", "--show", *PACKAGES], check=True)
    options = [
        f"--postgres-bin={postgres}",
        f"--pgbouncer={PGBOUNCER}",
        f"--redis-server={REDIS}",
        f"--rabbitmq-server={RABBITMQ}",
    ]
    names_tests = any(Path(argument.partition("::")[0]).exists() for argument in arguments)
    return int(pytest.main([*([] if names_tests else ["tests/integration"]), *options, *arguments]))


def servers() -> Path:
    """Where PostgreSQL's programs are, once all servers are installed."""
    if not (found := _postgres()) or not all(program.exists() for program in (PGBOUNCER, REDIS, RABBITMQ)):
        _install()
        found = _postgres()
    if not found:
        raise CannotInstall("the package postgresql has brought no /usr/lib/postgresql/*/bin/postgres")
    return found


def _postgres() -> Path | None:
    bins = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/postgres")]
    return max(bins, key=lambda path: int(path.parent.name), default=None)


def _install() -> None:
    apt = shutil.which("apt-get")
    if apt is None:
        raise CannotInstall("there is no apt-get; name servers yourself with pytest's --postgres-bin and so on")
    if os.geteuid() != 0:
        raise CannotInstall(f"only root may install {', '.join(PACKAGES)}")
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    with _no_services():
        for command in (["update"], ["install", "--yes", "--no-install-recommends", *PACKAGES]):
            done = subprocess.run(
                [apt, "--quiet", *command], env=environment, capture_output=True, text=True, check=False
            )
            if done.returncode:
                last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
                raise CannotInstall(f"apt-get {command[0]} failed: {last}")


@contextmanager
def _no_services() -> Iterator[None]:
    """Debian starts what it installs, unless this file says no."""
    if POLICY.exists():
        yield
        return
    POLICY.write_text("#!/bin/sh\nexit 101\n")
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
