"""How far a server's clock is from this machine's."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from worker.commands.doctor.finding import Finding, ok, warning

_MOST_S = 2.0


async def examine_clock(check: str, read: Callable[[], Awaitable[datetime]]) -> Finding:
    """Compare; what the question itself took counts for neither side."""
    before = datetime.now(tz=UTC)
    there = await read()
    after = datetime.now(tz=UTC)
    skew = max((before - there).total_seconds(), (there - after).total_seconds(), 0.0)
    if skew <= _MOST_S:
        return ok(check, f"within {_MOST_S:g} s of this machine's")
    return warning(
        check,
        f"{skew:.0f} s away from this machine's",
        "Run a time service (chrony) on both: tokens expire, and times in reports are compared, by these clocks.",
    )
