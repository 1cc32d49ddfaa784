"""The processes of a stack, and which of them are left."""

import time

import psutil

from devstack.running import RunningStack, runs

TIMEOUT_S = 30


def family(stack: RunningStack) -> list[psutil.Process]:
    """Every process of a stack: its parts, the guard, and their children."""
    return stack.supervisor.children(recursive=True)


def left_of(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Those that still run after a while."""
    deadline = time.monotonic() + TIMEOUT_S
    while left := [process for process in processes if runs(process)]:
        if time.monotonic() > deadline:
            break
        time.sleep(0.05)
    return left
