"""What a process tree has used: CPU seconds and peak memory, from the operating system."""

import contextlib
import math
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path

import psutil

MIB = 1024 * 1024


def tree(pids: Iterable[int]) -> list[psutil.Process]:
    """The processes and all their descendants that live."""
    found = []
    for pid in pids:
        with contextlib.suppress(psutil.NoSuchProcess):
            root = psutil.Process(pid)
            found += [root, *root.children(recursive=True)]
    return found


def cpu_seconds(pids: Iterable[int]) -> float:
    """User and system time of the processes and their descendants, those that have ended included."""
    total = 0.0
    for process in tree(pids):
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total


def reset_peak_memory(pids: Iterable[int]) -> None:
    """Have `peak_memory_mib` count from now on."""
    for process in tree(pids):
        with contextlib.suppress(OSError):
            Path(f"/proc/{process.pid}/clear_refs").write_text("5")


def peak_memory_mib(pids: Iterable[int]) -> float:
    """The sum of the peak resident sizes; pages that processes share count once for each."""
    return sum(_peak_bytes(process) for process in tree(pids)) / MIB


def own_memory_mib() -> tuple[float, float]:
    """Resident size of this process alone, now and at its peak."""
    process = psutil.Process()
    return process.memory_info().rss / MIB, _peak_bytes(process) / MIB


def memory_mib(pids: Iterable[int]) -> float:
    """The sum of the resident sizes now."""
    total = 0
    for process in tree(pids):
        with contextlib.suppress(psutil.NoSuchProcess):
            total += process.memory_info().rss
    return total / MIB


def _peak_bytes(process: psutil.Process) -> int:
    try:
        status = Path(f"/proc/{process.pid}/status").read_text()
        return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        with contextlib.suppress(psutil.NoSuchProcess):
            return int(process.memory_info().rss)
        return 0


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that at least `percent` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def median_and_range(values: Sequence[float]) -> tuple[float, float, float]:
    """Median, least, greatest."""
    return statistics.median(values), min(values), max(values)
