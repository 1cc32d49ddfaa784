"""What the blocking client does in threads: give a call up after a while, and call back."""

import contextvars
import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Protocol

import httpx2

from bksi_client.errors import BksiError

_log = logging.getLogger("bksi_client")


def within(seconds: float, call: Callable[[], httpx2.Response]) -> httpx2.Response:
    """What `call` returns, unless that takes longer than `seconds`.

    In a thread, because the limits of an HTTP client hold for each step alone: looking up a name has none, and a server
    that sends a byte now and then keeps within all of them. What is given up ends by itself.
    """
    outcome: Future[httpx2.Response] = Future()
    context = contextvars.copy_context()

    def run() -> None:
        try:
            outcome.set_result(context.run(call))
        except BaseException as error:  # noqa: BLE001 - raised where it is waited for
            outcome.set_exception(error)

    threading.Thread(target=run, name="bksi-call", daemon=True).start()
    try:
        return outcome.result(seconds)
    except TimeoutError:
        raise httpx2.ReadTimeout("the time is up") from None


class Ending(Protocol):
    """Something that ends."""

    id: str

    def wait(self) -> object:
        """Return then, or raise when the server cannot be asked any longer."""


class Callbacks:
    """What is called once `of` has ended."""

    def __init__(self, of: Ending) -> None:
        self._of = of
        self._lock = threading.Lock()
        self._waiting: list[Callable[[], object]] | None = None

    def add(self, callback: Callable[[], object]) -> None:
        """Call it then, too."""
        with self._lock:
            if self._waiting is not None:
                self._waiting.append(callback)
                return
            self._waiting = [callback]
        threading.Thread(target=self._run, name=f"bksi-{self._of.id}", daemon=True).start()

    def _run(self) -> None:
        try:
            self._of.wait()
        except (BksiError, RuntimeError, httpx2.HTTPError) as error:
            _log.warning("%r cannot be waited for: %s", self._of, error)
        with self._lock:
            callbacks, self._waiting = self._waiting or [], None
        for callback in callbacks:
            try:
                callback()
            except Exception:  # noqa: BLE001 - as concurrent.futures does: the others are called all the same
                _log.exception("a callback of %r failed", self._of)
