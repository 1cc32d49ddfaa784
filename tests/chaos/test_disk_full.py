"""No room left: refused in words, no half rows, and everything goes on once there is room again."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx2
import pytest

from api_shim.refusals import BrokerUnavailable
from devstack.privileges import nobody
from devstack.process import Guard
from devstack.servers import Postgres, Valkey
from tests.chaos.nursery import wait_until
from tests.chaos.system import System, bound, unbound
from tests.conftest import execute

NO_ROOM = "No space left on device"


class SmallDisk:
    """A file system of a few MiB."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._ballast = path / "ballast"

    def fill(self) -> None:
        with suppress(OSError), self._ballast.open("wb") as ballast:
            while ballast.write(bytes(4096)):
                ballast.flush()

    def make_room(self) -> None:
        self._ballast.unlink()


@contextmanager
def _mounted(path: Path, mib: int) -> Iterator[SmallDisk]:
    path.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", f"size={mib}m", "tmpfs", str(path)]
    try:
        done = subprocess.run(mounting, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no `mount` on this machine: a full disk cannot be made")
    if done.returncode:
        pytest.skip(f"a small file system cannot be mounted (are you root?): {done.stderr.strip()}")
    try:
        yield SmallDisk(path)
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


def test_disk_of_redis_is_full(
    open_system: Callable[[str, str], System], guard: Guard, dsn: str, tmp_path: Path
) -> None:
    with _mounted(tmp_path / "disk", 16) as disk, Valkey(disk.path / "redis", guard) as valkey:
        system = open_system(valkey.url, dsn)
        system.worker()
        _, url = system.shim()
        system.submit(bound(1), unbound(1))
        disk.fill()

        def submit() -> bool:
            try:
                system.submit(unbound(*range(1, 101), name="until it is full"))
            except BrokerUnavailable:
                return True
            return False

        wait_until(submit, what="Redis has no room")
        refused = wait_until(lambda: _post(url))
        assert (refused.status_code, refused.json()["result"]) == (503, False)
        assert int(refused.headers["Retry-After"]) >= 1

        disk.make_room()
        # It ends itself rather than answer what it cannot keep; its supervisor starts it again.
        if valkey.process is None or valkey.process.returncode is not None:
            valkey.start()
        system.submit_when_possible(bound(2))
        system.all_succeed()
        system.close()


def test_disk_of_postgres_is_full(
    open_system: Callable[[str, str], System], postgres: Postgres, valkey: Valkey, template: str, tmp_path: Path
) -> None:
    with _mounted(tmp_path / "disk", 48) as disk:
        tables = disk.path / "tables"
        tables.mkdir()
        subprocess.run(["chown", str(nobody().pw_uid), str(tables)], check=True)
        execute(postgres.url, f"CREATE TABLESPACE small LOCATION '{tables}'")
        execute(postgres.url, f"CREATE DATABASE small TEMPLATE {template} TABLESPACE small STRATEGY FILE_COPY")
        system = open_system(valkey.url, postgres.url.rpartition("/")[0] + "/small")
        system.worker()
        system.submit(bound(1))
        system.finish()

        disk.fill()
        system.submit(*[unbound(*range(1, 101), name=f"unit {n}", processes=["alpha", "beta"]) for n in range(10)])
        wait_until(lambda: NO_ROOM in postgres.log.read_text(), what="PostgreSQL has no room")
        (rows,) = system.sql(
            "SELECT (SELECT count(*) FROM service_instance) AS instances, (SELECT count(*) FROM process) AS processes,"
            " (SELECT coalesce(sum(cardinality(created_ids)), 0) FROM audit_log) AS audited"
        )
        assert rows["instances"] == rows["audited"]
        assert rows["processes"] == 2 * rows["instances"] - 1
        disk.make_room()

        system.all_succeed(seconds=60)
        system.close()
        execute(postgres.url, "DROP DATABASE small WITH (FORCE)")
        execute(postgres.url, "DROP TABLESPACE small")


def _post(url: str) -> httpx2.Response | None:
    with suppress(httpx2.TransportError):
        return httpx2.post(f"{url}/v1/batches", json=bound(50).body(), timeout=30)
    return None
