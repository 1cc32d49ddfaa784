"""A second PostgreSQL that follows another one by streaming replication."""

import subprocess
from pathlib import Path

from devstack.privileges import make_data_directory, unprivileged
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
    make_data_directory(made.data)
    backup = [f"{source.bin}/pg_basebackup", f"--pgdata={made.data}", f"--dbname={source.url}"]
    command = [*unprivileged(), *backup, "--checkpoint=fast", "--no-sync"]
    subprocess.run(command, env=PLAIN_ENVIRONMENT, cwd="/", check=True, capture_output=True)
    return made


def follow(standby: Postgres, primary: Postgres) -> None:
    """Let `standby`, which does not run, start as the standby of `primary`."""
    (standby.data / "standby.signal").touch()
    with (standby.data / "postgresql.auto.conf").open("a") as configuration:
        configuration.write(f"primary_conninfo = '{primary.url}'\n")
