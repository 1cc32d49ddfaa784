"""A server that is away is said once, with its address, and once more when it is back."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from plumbing.urls import without_secrets

_log = structlog.get_logger("bksi.outage")


class Outage:
    """What one process has said about one server. Tell it of every failure and every success; both are cheap.

    Args:
        server: what it is to this process: ``redis``, ``postgres``, ``broker``.
        url: where; its secrets are not shown.
    """

    def __init__(self, server: str, url: str) -> None:
        self._server = server
        self._address = without_secrets(url)
        self._began = 0.0

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Whether the block fails tells whether the server is away."""
        try:
            yield
        except Exception as error:
            self.lasts(error)
            raise
        self.is_over()

    def lasts(self, error: BaseException) -> None:
        """The server did not answer, or not as it should."""
        if not self._began:
            self._began = time.monotonic()
            _log.error(f"{self._server} is away", address=self._address, error=type(error).__name__)

    def is_over(self) -> None:
        """The server answered."""
        if self._began:
            seconds, self._began = time.monotonic() - self._began, 0.0
            _log.warning(f"{self._server} is back", address=self._address, after_s=round(seconds, 1))
