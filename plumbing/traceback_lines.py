"""Where an error was raised, for the log."""

import traceback
from typing import Final

_MOST: Final = 5


def frames_of(error: BaseException) -> list[str]:
    """The innermost frames. Where, but not what: an exception's own text may hold a caller's values."""
    return traceback.format_tb(error.__traceback__)[-_MOST:]
