"""What a worker tells pollers about a request that Redis knows no more and PostgreSQL cannot give back either.

The note stands for a short while under `Keys.unknown`, so that asking again costs PostgreSQL nothing.
"""

from dataclasses import dataclass
from typing import Final

from contract.answer.report import Status

NOTE_TTL_S: Final = 30
"""How long a note stands."""


@dataclass(frozen=True, slots=True)
class Note:
    """`bk_app_code` is whose the request was and `status` how it ended; both None for one that never was."""

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
