"""Run a stack in the foreground of a terminal: signals stop it, failures become a message and exit code 1."""

import contextlib
import shlex
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from rich.console import Console

from devstack.data_directory import Addresses, DirectoryUnusable
from devstack.demo import DemoFailed, show_documented_request
from devstack.process import ProcessFailed
from devstack.stack import Stack, Stopped

_console = Console(highlight=False, soft_wrap=True)
_NEXT = """
Next: `make up` runs it until Ctrl-C, on http://127.0.0.1:8080 with its description on /docs.
README.md shows the calls, examples/ the same in curl, Python, Go, Node and Java.
"""


def run_up(stack: Stack) -> None:
    """Run `stack` until it is told to stop."""
    with _running(stack) as addresses:
        for warning in stack.warnings:
            _console.print(f"Warning  {warning}")
        _console.print(f"HTTP     {addresses.http}/docs")
        _console.print(f"Flower   {addresses.flower}")
        _console.print(f"Details  {stack.data.description}")
        _console.print(f"Shell    . {shlex.quote(str(stack.data.environment))}  # for `bksi doctor`, `bksi list` …")
        stack.watch()


def run_demo(*, keep: bool) -> None:
    """Run a stack in a temporary directory for as long as the demonstration takes, or longer if `keep`."""
    with tempfile.TemporaryDirectory(prefix="bksi-demo-") as directory:
        stack = Stack(Path(directory))
        with _running(stack) as addresses:
            _on_signals(_raise_stopped)
            try:
                show_documented_request(addresses, _console)
            except DemoFailed as failed:
                raise DemoFailed(f"{failed}\n{stack.tail('shim')}\n{stack.tail('worker')}") from failed
            if keep:
                _console.print(f"\nHTTP     {addresses.http}/docs\nFlower   {addresses.flower}")
                _console.print(f"\nRunning until Ctrl-C. Details: {stack.data.description}")
                _on_signals(stack.stopping.set)
                stack.watch()
    _console.print(_NEXT)


@contextlib.contextmanager
def _running(stack: Stack) -> Iterator[Addresses]:
    # Not by an exception: it could fall between the start of a process and its being written down.
    _on_signals(stack.stopping.set)
    try:
        with stack:
            _console.print(f"Starting in {stack.data.path} ...")
            yield stack.start()
            # A second Ctrl-C does not leave half of it running.
            _on_signals(lambda: None)
            _console.print("Stopping ...")
    except Stopped:
        sys.exit("bksi: stopped before it was done")
    except (ProcessFailed, DirectoryUnusable, DemoFailed) as failed:
        sys.exit(f"bksi: {failed}")


def _on_signals(action: Callable[[], None]) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: action())


def _raise_stopped() -> None:
    _on_signals(lambda: None)
    raise Stopped
