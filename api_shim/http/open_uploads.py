"""Uploads of jobs that are under way: how many there may be."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from api_shim.refusals import Busy

_RETRY_S: Final = 5.0


class OpenUploads:
    """Each holds a connection, up to an instance's text and a batch for as long as its job is held back."""

    def __init__(self, most: int) -> None:
        self._most, self._open = most, 0

    @contextmanager
    def one(self) -> Iterator[None]:
        """Inside the block one more is under way.

        Raises:
            Busy: there is no room for it.
        """
        if self._open >= self._most:
            raise Busy(_RETRY_S)
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1
