"""How CMDB fails, as is reported of it: by dice, more or less often, and each time written down.

| kind | what a caller sees | what is stored |
|---|---|---|
| busy | 1199997 with HTTP 200 | nothing |
| broken | 502, no JSON | nothing |
| unwell | 1199017 or 1199999 with HTTP 200 | nothing |
| silent | no answer | nothing |
| half | no answer, or 504 | half of it (bk-cmdb#2561, #5021) |
| unheard | no answer, or 504 | all of it |
| slow | the right answer, late | all of it |
| shifted | a page that others have changed the rows of meanwhile | |
"""

import logging
import random
import threading
import time
from collections import Counter
from collections.abc import Mapping
from typing import Final

from chaos.cmdb.exchange import Reply, refusal

CHANGING: Final = ("busy", "broken", "unwell", "silent", "half", "unheard", "slow")
READING: Final = ("busy", "broken", "unwell", "silent", "slow", "shifted")
KINDS: Final = frozenset((*CHANGING, *READING))
MUCH: Final = dict.fromkeys(("busy", "broken", "unwell", "silent"), 0.03) | {
    "half": 0.15,
    "unheard": 0.1,
    "slow": 0.1,
    "shifted": 0.1,
}

_log = logging.getLogger(__name__)


class Failures:
    """Dice. `chances` says how likely each kind is at one call, none by default; `done` counts what has happened.

    Args:
        seed: of the dice.
        hold_s: how long a caller is left without an answer, and the longest that a slow one takes.
    """

    def __init__(self, seed: int = 0, hold_s: float = 0.5) -> None:
        self.chances: dict[str, float] = {}
        self.hold_s = hold_s
        self.done: Counter[str] = Counter()
        self.dice = random.Random(seed)  # noqa: S311
        self._lock = threading.Lock()

    def set(self, chances: Mapping[str, float]) -> None:
        """From now on these.

        Raises:
            ValueError: there is no such kind.
        """
        if unknown := set(chances) - KINDS:
            raise ValueError(f"no such failure: {', '.join(sorted(unknown))}")
        self.chances = dict(chances)

    def throw(self, *, changes: bool) -> str:
        """What goes wrong with this call; mostly nothing."""
        with self._lock:
            left = self.dice.random()
            for kind in CHANGING if changes else READING:
                left -= self.chances.get(kind, 0)
                if left < 0:
                    self.done[kind] += 1
                    _log.info("failure: %s", kind)
                    return kind
        return ""

    def before(self, kind: str) -> Reply | None:
        """The reply of a call that gets no further."""
        match kind:
            case "busy":
                return refusal(1199997, "too many requests")
            case "broken":
                return Reply(502, "<html>Bad Gateway</html>")
            case "unwell":
                return refusal(1199017 if self._uniform(1) < 0.5 else 1199999, "something is wrong with CMDB")
            case "silent":
                return self.no_answer()
            case "slow":
                time.sleep(self._uniform(self.hold_s))
        return None

    def no_answer(self) -> Reply:
        """Held for a while, then cut off, or given up by a gateway in between."""
        time.sleep(self.hold_s)
        return Reply(504, "<html>Gateway Time-out</html>") if self._uniform(1) < 0.5 else Reply(hangs_up=True)

    def _uniform(self, most: float) -> float:
        with self._lock:
            return self.dice.uniform(0, most)
