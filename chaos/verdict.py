"""What came of a run: how long recovery took, the table for people, the document for machines."""

import bisect
import platform
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import median
from typing import Any, Final, NamedTuple

import psutil
from rich.console import Console
from rich.table import Table

from chaos.faults import Fault
from chaos.history import Judgement, Told

LIMIT_S: Final = 40.0
"""How long recovery may take: a lease, a sweep, the work itself, and more of them if it is hit again."""
_TAKES_A_SERVER: Final = frozenset(
    {"Redis is away", "Redis restarts", "Redis loses power", "PostgreSQL is killed", "PostgreSQL restarts"}
)
"""Faults while which nothing can end, whatever the workers do."""
_LONGEST_S: Final = 300.0
_SLOWEST: Final = 20


@dataclass(frozen=True)
class Run:
    """What was asked for, and when. Times of `begin` and `end` are `time.monotonic`."""

    command: str
    when: str
    seed: int
    begin: float
    end: float
    loses_power: bool


class Recovery(NamedTuple):
    """How long it took until everything that a fault found open had ended, in seconds.

    `waited` is by the clock; `seconds` leaves out the time in which Redis or PostgreSQL was not there meanwhile.
    """

    seconds: float
    waited: float


@dataclass(frozen=True)
class Verdict:
    """The judgement and everything measured. `wrong` has what the judge found and what no answer may be."""

    run: Run
    judgement: Judgement
    wrong: tuple[str, ...]
    kills: int
    ended_by_itself: Mapping[str, int]
    accepted_by_kind: Mapping[str, int]
    jobs: Mapping[str, int]
    cmdb: Mapping[str, int]
    """What CMDB has, and how often it failed; empty without one."""
    faults: tuple[Fault, ...]
    recoveries: tuple[Recovery, ...]
    """One for each fault."""
    told: Mapping[str, Told]

    @property
    def is_good(self) -> bool:
        """Nothing lost, nothing doubled, nothing else wrong."""
        return not (self.judgement.lost or self.judgement.doubled or self.wrong)

    @cached_property
    def recovery_s(self) -> Mapping[str, float]:
        """How long the recoveries took, without the time in which a server was away."""
        return _spread([recovery.seconds for recovery in self.recoveries])

    @cached_property
    def waited_s(self) -> Mapping[str, float]:
        """How long they took by the clock."""
        return _spread([recovery.waited for recovery in self.recoveries])

    def document(self) -> dict[str, Any]:
        """As JSON."""
        begin = self.run.begin
        ends = sorted(round(told.ended_at - begin, 2) for told in self.told.values() if told.ended_at)
        waits = [told.ended_at - told.accepted_at for told in self.told.values() if told.ended_at]
        return {
            "verdict": "good" if self.is_good else "bad",
            "command": self.run.command,
            "when": self.run.when,
            "machine": {"system": platform.platform(), "cores": psutil.cpu_count()},
            "seed": self.run.seed,
            "seconds": round(self.run.end - begin, 1),
            "accepted": self.judgement.accepted,
            "accepted_by_kind": dict(self.accepted_by_kind),
            "ended": dict(self.judgement.ended),
            "jobs": dict(self.jobs),
            "cmdb": dict(self.cmdb),
            "lost": self.judgement.lost,
            "doubled": self.judgement.doubled,
            "wrong": list(self.wrong),
            "kills": self.kills,
            "redis_kills_drop_unsynced_writes": self.run.loses_power,
            "ended_by_itself": dict(self.ended_by_itself),
            "recovery_s": dict(self.recovery_s),
            "waited_s": dict(self.waited_s),
            "request_s": _spread(waits),
            "slowest": self._slowest(),
            "faults": {
                kind: {"count": len(found), "recovery_s": _spread(found)} for kind, found in self._by_kind().items()
            },
            "timeline": [
                {
                    "kind": fault.kind,
                    "target": fault.target,
                    "began_at_s": round(fault.began_at - begin, 2),
                    "ended_at_s": round(fault.ended_at - begin, 2),
                    "recovery_s": round(recovery.seconds, 2),
                    "waited_s": round(recovery.waited, 2),
                }
                for fault, recovery in zip(self.faults, self.recoveries, strict=True)
            ],
            "ended_per_second": _per_second(ends),
        }

    def show(self, console: Console) -> None:
        """Print the table, and what is wrong."""
        judged, table = self.judgement, Table(title="chaos", show_header=False)
        table.add_column(style="bold")
        table.add_column(justify="right")
        recovery, waited = self.recovery_s, self.waited_s
        rows: list[tuple[str, object]] = [
            ("accepted", judged.accepted),
            *((f"  {kind}", count) for kind, count in sorted(self.accepted_by_kind.items())),
            ("ended", sum(judged.ended.values())),
            *((f"  {status}", count) for status, count in sorted(judged.ended.items())),
            *((f"jobs: {what}", count) for what, count in self.jobs.items()),
            *((f"CMDB: {what}", count) for what, count in self.cmdb.items()),
            ("lost", judged.lost),
            ("doubled", judged.doubled),
            ("otherwise wrong", len(self.wrong) - judged.lost - judged.doubled),
            ("recovery p50 / max", f"{recovery['p50']:.1f} / {recovery['max']:.1f} s"),
            ("  with the time that a server was away", f"{waited['p50']:.1f} / {waited['max']:.1f} s"),
            ("kill -9", self.kills),
            ("faults", len(self.faults)),
        ]
        for name, value in rows:
            table.add_row(name, str(value))
        for kind, found in sorted(self._by_kind().items()):
            table.add_row(f"  {kind}", f"{len(found)} (max {max(found):.1f} s)")
        for end, count in sorted(self.ended_by_itself.items()):
            table.add_row(f"  ended by itself: {end}", str(count))
        console.print(table)
        if not self.run.loses_power:
            console.print(
                "No C compiler: kills of Redis were plain SIGKILLs, which keep what was written and not synced."
            )
        for line in self.wrong:
            console.print(f"wrong: {line}", style="red", markup=False)
        console.print("Nothing lost, nothing doubled." if self.is_good else "NOT GOOD.", style="bold")

    def _slowest(self) -> list[dict[str, Any]]:
        """What to look for in the logs."""
        ended = [(told.ended_at - told.accepted_at, id_) for id_, told in self.told.items() if told.ended_at]
        return [
            {
                "request_id": request_id,
                "seconds": round(seconds, 1),
                "accepted_at_s": round(self.told[request_id].accepted_at - self.run.begin, 1),
                "status": self.told[request_id].reports[-1]["status"],
            }
            for seconds, request_id in sorted(ended, reverse=True)[:_SLOWEST]
        ]

    def _by_kind(self) -> dict[str, list[float]]:
        found: dict[str, list[float]] = {}
        for fault, recovery in zip(self.faults, self.recoveries, strict=True):
            found.setdefault(fault.kind, []).append(recovery.seconds)
        return found


def recoveries(faults: Sequence[Fault], told: Mapping[str, Told]) -> tuple[Recovery, ...]:
    """For each fault, how long after its end the last of the requests ended that were unfinished then.

    Faults that came meanwhile count in: a request that was hit three times is three times late. What does not is the
    time for which one of them took a server away: during that nothing can end.
    """
    requests = sorted((request.accepted_at, request.ended_at) for request in told.values() if request.ended_at)
    begins = [accepted_at for accepted_at, _ in requests]
    outages = _joined((fault.began_at, fault.ended_at) for fault in faults if fault.kind in _TAKES_A_SERVER)
    found = []
    for fault in faults:
        at = fault.ended_at
        open_then = requests[bisect.bisect(begins, at - _LONGEST_S) : bisect.bisect(begins, at)]
        until = max((ended_at for _, ended_at in open_then if ended_at > at), default=at)
        away = sum(max(0.0, min(until, end) - max(at, begin)) for begin, end in outages)
        found.append(Recovery(until - at - away, until - at))
    return tuple(found)


def _joined(intervals: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """Intervals of which none touches another."""
    joined: list[tuple[float, float]] = []
    for begin, end in sorted(intervals):
        if joined and begin <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(joined[-1][1], end)
        else:
            joined.append((begin, end))
    return joined


def _spread(values: Sequence[float]) -> dict[str, float]:
    if not values:
        return {"p50": 0.0, "p99": 0.0, "max": 0.0}
    ordered = sorted(values)
    p99 = ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)]
    return {"p50": round(median(ordered), 2), "p99": round(p99, 2), "max": round(ordered[-1], 2)}


def _per_second(ends: Sequence[float]) -> list[int]:
    counts = Counter(int(at) for at in ends)
    return [counts[second] for second in range(max(counts, default=-1) + 1)]
