"""Memories that cannot grow without end: of what was worked out before, and of names that come from outside."""

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Recent(Generic[K, V]):
    """A dict that forgets what was used longest ago. Thread-safe."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._values: OrderedDict[K, V] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: K) -> V | None:
        """The value, which so counts as used; None when it is not (or no longer) here."""
        with self._lock:
            value = self._values.get(key)
            if value is not None:
                self._values.move_to_end(key)
            return value

    def put(self, key: K, value: V) -> None:
        """Remember `value`."""
        with self._lock:
            self._values[key] = value
            self._values.move_to_end(key)
            if len(self._values) > self._limit:
                self._values.popitem(last=False)


OTHER = "other"


class BoundedNames:
    """The first `most` names that are met keep theirs; those that come later are all `OTHER`.

    For labels of a metric: each is a series of its own for ever.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: set[str] = set()

    def __call__(self, name: str) -> str:
        """`name`, or what stands for it."""
        if name not in self._kept:
            if len(self._kept) >= self._most:
                return OTHER
            self._kept.add(name)
        return name
