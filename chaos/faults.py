"""The dice that choose among the faults (`chaos.breaking`), and the record of those that have happened."""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from chaos.breaking import Breaking
from chaos.site import Site


@dataclass(frozen=True)
class Fault:
    """One that has happened. Times are `time.monotonic`; `ended_at` is when what it took was back, or could be."""

    kind: str
    target: str
    began_at: float
    ended_at: float


class Faults:
    """Throws dice and breaks things, each kind as often as its weight. `throw` is for one thread.

    Args:
        site: what is broken.
        seed: of the dice.
        known: request ids that were accepted so far, the newest last; their messages are delivered again.
        lease_s: how long a lease is, so that a frozen worker sleeps longer.
        is_control: whether Redis is set up to lose what it has accepted. Then most faults are losses of power: a second
            of writes holds few requests that nobody has finished.
    """

    def __init__(self, site: Site, seed: int, known: Sequence[str], lease_s: float, *, is_control: bool) -> None:
        self.done: list[Fault] = []
        self._site = site
        self._healed = threading.Event()
        self._breaking = Breaking(site, seed, known, lease_s, self._healed)
        self._kinds = self._breaking.kinds(is_control=is_control)
        self._background = ThreadPoolExecutor(thread_name_prefix="fault")
        self._under_way: dict[str, Future[None]] = {}

    @property
    def kills(self) -> int:
        """SIGKILLs so far, those at failpoints included."""
        return self._site.ends.kills + self._breaking.server_kills

    def throw(self) -> None:
        """One fault. What takes time goes on in the background; a second one of the same thing is not begun then."""
        weights = [kind.weight for kind in self._kinds.values()]
        kind = self._breaking.choose.choices(list(self._kinds), weights)[0]
        _, takes, action = self._kinds[kind]
        if not takes:
            self._do(kind, action)
            return
        if (earlier := self._under_way.get(takes)) is not None:
            if not earlier.done():
                return
            earlier.result()
        self._under_way[takes] = self._background.submit(self._do, kind, action)

    def heal(self) -> None:
        """End every fault that goes on.

        Raises:
            ProcessFailed: a server did not come back.
        """
        self._healed.set()
        self._background.shutdown(wait=True)
        for fault in self._under_way.values():
            fault.result()
        self._site.before_redis.restore()
        self._site.before_postgres.restore()
        if self._site.cmdb is not None:
            self._site.cmdb.heal()
        self._breaking.close()

    def _do(self, kind: str, action: Callable[[], str]) -> None:
        """Do it and write it down."""
        began_at = time.monotonic()
        if target := action():
            self.done.append(Fault(kind, target, began_at, time.monotonic()))
