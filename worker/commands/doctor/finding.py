"""What an examination finds. Texts name servers and settings, never a password and never a value of a request."""

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How bad a finding is."""

    OK = "ok"
    SKIPPED = "skipped"
    """Could not be looked at; `mend` says what that needs."""
    WARNING = "warning"
    """It works, with a risk that somebody should have decided to take."""
    ERROR = "error"
    """Requests will be lost, refused or open to strangers."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: what was found, and, unless it is well, how to mend it."""

    check: str
    level: Level
    found: str
    mend: str = ""


def ok(check: str, found: str) -> Finding:
    """It is as it should be."""
    return Finding(check, Level.OK, found)


def skipped(check: str, found: str, mend: str) -> Finding:
    """It was not looked at."""
    return Finding(check, Level.SKIPPED, found, mend)


def warning(check: str, found: str, mend: str) -> Finding:
    """It works, with a risk."""
    return Finding(check, Level.WARNING, found, mend)


def error(check: str, found: str, mend: str) -> Finding:
    """It does not work, or not safely."""
    return Finding(check, Level.ERROR, found, mend)
