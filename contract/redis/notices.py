"""What is said on the ``done`` channel: which requests have ended, and how, where that is said in few words.

One line with their ids, separated by blanks; then, if they are short, a line for each with its report. Everybody who
listens hears everything, so long reports are left to those who wait for them.
"""

from typing import Final

MOST_SAID: Final = 8_192
"""Bytes of a report that is said at most; of several that end together, on average."""


def read_done(message: bytes) -> dict[str, bytes | None]:
    """The request ids of a message, each with its report if that was said: ``Report.load`` reads it."""
    head, *reports = message.split(b"\n")
    ids = head.decode().split()
    return dict(zip(ids, reports, strict=True)) if len(reports) == len(ids) else dict.fromkeys(ids)
