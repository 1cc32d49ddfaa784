"""What tests here start their processes with, and how they wait for them."""

import time
from typing import Any

from chaos.nursery import WAIT_S, Child, Nursery

__all__ = ["Child", "Nursery", "wait_until"]


def wait_until(condition: Any, seconds: float = WAIT_S, what: str = "") -> Any:
    """Ask again and again until the answer is true, and return it; fails after `seconds`."""
    give_up_at = time.monotonic() + seconds
    while not (answer := condition()):
        assert time.monotonic() < give_up_at, f"not within {seconds} s: {what or condition}"
        time.sleep(0.02)
    return answer
