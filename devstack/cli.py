"""`bksi up` and `bksi demo`: the whole system on one machine."""

import contextlib
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter
from cyclopts.validators import Number
from rich.console import Console

from devstack.demo import DemoFailed, run_demo
from devstack.process import ProcessFailed
from devstack.stack import Addresses, DirectoryInUse, Stack, Stopped

app = App(name="devstack", help="The whole system on one machine.")
_console = Console(highlight=False, soft_wrap=True)


@app.command
def up(
    *,
    data_dir: Path,
    port: Annotated[int, Parameter(validator=Number(gte=0, lte=65535))] = 8080,
    postgres: str | None = None,
    redis: str | None = None,
    workers: Annotated[int, Parameter(validator=Number(gte=1))] = 1,
) -> None:
    """Run servers, workers, the shim and Flower until Ctrl-C or SIGTERM. Data outlasts a restart.

    Once a request would be answered, DATA_DIR/stack.json tells where everything is. The exit code is not 0 when a
    part ends by itself; everything else is stopped then.

    Args:
        data_dir: where data, logs and stack.json go; made when missing.
        port: of 127.0.0.1 for the HTTP interface; 0 takes a free one.
        postgres: libpq URL of a server to use instead of the embedded one. It is migrated; no sample is imported.
        redis: URL of a server to use instead of the embedded one.
        workers: how many worker processes.
    """
    with _running(Stack(data_dir, port=port, postgres=postgres, redis=redis, workers=workers)) as (stack, addresses):
        _console.print(f"HTTP     {addresses.http}/docs\nFlower   {addresses.flower}\nDetails  {stack.description}")
        stack.watch()


@app.command
def demo(*, keep: bool = False) -> None:
    """Run the system in a temporary directory, submit the documented request on both paths, show what came of it.

    The exit code is 0 only when the rows that the rules demand are there.

    Args:
        keep: leave the system running until Ctrl-C.
    """
    with (
        tempfile.TemporaryDirectory(prefix="bksi-demo-") as directory,
        _running(Stack(Path(directory))) as (stack, addresses),
    ):
        run_demo(addresses, _console)
        if keep:
            _console.print("\nRunning until Ctrl-C.", f"Details: {stack.description}")
            stack.watch()


@contextlib.contextmanager
def _running(stack: Stack) -> Iterator[tuple[Stack, Addresses]]:
    """Start a stack, stop it on SIGINT, SIGTERM and SIGHUP, and turn what went wrong into a message and exit code 1."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: stack.stopping.set())
    try:
        with stack:
            _console.print(f"Starting in {stack.directory} …")
            with contextlib.suppress(Stopped):
                yield stack, stack.start()
            _console.print("Stopping …")
    except (ProcessFailed, DirectoryInUse, DemoFailed) as failed:
        Console(stderr=True, highlight=False, markup=False, soft_wrap=True).print(f"bksi: {failed}")
        sys.exit(1)
