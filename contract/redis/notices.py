"""What pollers are told.

On the ``done`` channel, which requests have ended: one line with their ids, separated by blanks; then, if they are
short, a line for each with its report. Everybody who listens hears everything, so long reports are left to those who
wait for them.

In a note under `Keys.unknown`, that nobody can give the report back. It stands for a short while, so that asking again
costs PostgreSQL nothing.
"""

from dataclasses import dataclass
from typing import Final

from contract.answer.status import Status

MOST_SAID: Final = 8_192
"""Bytes of a report that is said at most; of several that end together, on average."""
NOTE_TTL_S: Final = 30
"""How long a note stands."""


def read_done(message: bytes) -> dict[str, bytes | None]:
    """The request ids of a message, each with its report if that was said: ``Report.load`` reads it."""
    head, *reports = message.split(b"\n")
    ids = head.decode().split()
    return dict(zip(ids, reports, strict=True)) if len(reports) == len(ids) else dict.fromkeys(ids)


@dataclass(frozen=True, slots=True)
class Note:
    """Of a request that Redis knows no more and PostgreSQL cannot give back either.

    `bk_app_code` is whose it was and `status` how it ended; both None for one that never was.
    """

    bk_app_code: str | None = None
    status: Status | None = None

    def dump(self) -> str:
        """As stored: empty, or ``expired:<status>:<bk_app_code>``."""
        return "" if self.status is None else f"expired:{self.status.value}:{self.bk_app_code}"

    @classmethod
    def load(cls, stored: bytes | str) -> "Note":
        """What `dump` wrote."""
        if not stored:
            return cls()
        text = stored if isinstance(stored, str) else stored.decode()
        _, status, bk_app_code = text.split(":", 2)
        return cls(bk_app_code, Status(status))
