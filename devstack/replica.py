"""A second PostgreSQL that follows another one by streaming replication."""

import os
import subprocess
from pathlib import Path

from devstack.privileges import nobody, unprivileged
from devstack.process import Guard
from devstack.server import PLAIN_ENVIRONMENT
from devstack.servers import Postgres


def copy(source: Postgres, directory: Path, guard: Guard) -> Postgres:
    """A server, not started, with all that `source` has.

    Raises:
        subprocess.CalledProcessError: `source` does not let itself be copied.
    """
    made = Postgres(directory, guard, durable=False)
    made.password = source.password
    made.data.mkdir(mode=0o700)
    if os.geteuid() == 0:
        os.chown(made.data, nobody().pw_uid, nobody().pw_gid)
    backup = [f"{source.bin}/pg_basebackup", f"--pgdata={made.data}", f"--dbname={source.url}"]
    command = [*unprivileged(PLAIN_ENVIRONMENT["PATH"]), *backup, "--checkpoint=fast", "--no-sync"]
    subprocess.run(command, env=PLAIN_ENVIRONMENT, cwd="/", check=True, capture_output=True)
    return made


def follow(standby: Postgres, primary: Postgres) -> None:
    """Let `standby`, which does not run, start as the standby of `primary`."""
    (standby.data / "standby.signal").touch()
    with (standby.data / "postgresql.auto.conf").open("a") as configuration:
        configuration.write(f"primary_conninfo = '{primary.url}'\n")
