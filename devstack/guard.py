"""A process that outlives its parent just long enough to end what the parent started.

Run as a file (``python -I -S guard.py GRACE_S``): it needs nothing but the standard library, and starts in
milliseconds. It reads lines ``+GROUP SIGNAL`` and ``-GROUP`` from its standard input. When the input ends, however the
parent died, every group still listed gets its signal, and SIGKILL when it has not gone ``GRACE_S`` seconds later.
"""

import contextlib
import os
import signal
import sys
import time


def main() -> None:
    """Wait for the parent to end, then end its process groups."""
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    groups: dict[int, int] = {}
    for line in sys.stdin:
        group, *number = line[1:].split()
        if line.startswith("+"):
            groups[int(group)] = int(number[0])
        else:
            groups.pop(int(group), None)

    deadline = time.monotonic() + float(sys.argv[1])
    # Newest first, one after another: who uses a server ends before the server does.
    for group, number in reversed(groups.items()):
        _signal(group, number)
        while time.monotonic() < deadline and _lives(group):
            time.sleep(0.02)
    for group in groups:
        _signal(group, signal.SIGKILL)


def _signal(group: int, number: int) -> bool:
    """Send `number` to a process group; whether there was one."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)
        return True
    return False


def _lives(group: int) -> bool:
    """Whether the group's leader has not ended; init may take its time to collect one that has."""
    try:
        with open(f"/proc/{group}/stat", encoding="ascii", errors="replace") as stat:  # noqa: PTH123 - starts faster
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return _signal(group, 0)


if __name__ == "__main__":
    main()
