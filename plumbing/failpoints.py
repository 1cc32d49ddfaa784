"""Named places where a test makes a process die, fail or wait. Nothing happens unless ``BKSI_FAILPOINTS`` asks for it.

::

    BKSI_FAILPOINTS="after_lease=kill:1;before_publish=sleep:0.5;before_write@0f3a…=abort"

Entries are separated by ``;``. Each is ``name[@subject]=action[:argument][:times]``. `subject` limits it to one
request_id. `times` limits it to so many passages, and where ``BKSI_FAILPOINTS_DIR`` is set those are counted there: a
process that is started again does not die for ever. Each passage of an armed place also leaves an empty file
``<name>.<number>`` in that directory, which tells a test that somebody has come by.

======== ============ ==================================================================================================
action   argument     what it does
======== ============ ==================================================================================================
kill                  SIGKILL to this process, as the kernel does when memory is short
abort                 SIGABRT, as a failed assertion in C does
stop                  SIGSTOP: the process is frozen until somebody continues it
hang                  never comes back and lets nothing else run in this thread, as an endless loop does
raise                 raises `FailpointReached`
memory                raises `MemoryError`
sleep    seconds      lets that much time pass
hold                  waits until a file ``<name>.go`` appears in ``BKSI_FAILPOINTS_DIR``
======== ============ ==================================================================================================
"""

import asyncio
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

import structlog

_log = structlog.get_logger(__name__)
_POLL_S: Final = 0.01
_WAITS: Final = ("sleep", "hold")

POINTS: Final[Mapping[str, str]] = {
    "before_submit": "shim: the request is checked, nothing is stored",
    "after_submit": "shim: the request is stored and queued, its caller has no answer",
    "after_job_begun": "shim: a job is known, none of its batches is accepted",
    "after_job_cancelled": "shim: nothing more of a job may begin, its batches that wait are not ended",
    "after_wake": "guarded transport: Redis has moved a message to this consumer's inbox",
    "after_turn": "guarded transport: messages are taken and recorded, none is delivered",
    "after_take": "the task has its message, and no lease",
    "after_adopt": "a direct message's request is pending, and has no lease",
    "after_lease": "the request is leased, nothing is done",
    "before_write": "the rows are known, nothing is sent to PostgreSQL",
    "before_commit": "rows are sent in an open transaction (only where an existing instance is completed)",
    "after_write": "PostgreSQL has committed",
    "before_publish": "the report is in PostgreSQL, not in Redis",
    "after_publish": "the report is in Redis and the request's entry is gone",
    "before_ack": "the task is over, its message is not acknowledged",
    "before_hand_back": "an attempt gave up, its request is not back in the queue",
    "before_delivery": "a module's deliveries are begun, CMDB is not asked",
    "before_cmdb_call": "a call that changes CMDB is written down, and not made",
    "after_cmdb_call": "CMDB has done it, and its ids are not here",
    "after_cmdb_ids": "CMDB's ids are beside ours, no delivery is ended",
    "before_told": "a delivery is ended in PostgreSQL, its caller cannot see it",
    "after_told": "its caller can see it, and the outbox has it still",
    "before_resend": "the reaper has found a request without an owner",
    "after_resend": "the reaper has sent it again",
}
"""Every failpoint, and how things stand when a process passes it."""


class FailpointReached(Exception):
    """Raised by the action ``raise``."""


@dataclass(slots=True)
class _Trap:
    name: str
    subject: str
    action: str
    seconds: float
    times: int | None
    directory: Path | None
    passed: int = 0

    def spring(self, subject: str) -> bool:
        """Count a passage and do what is to be done at once; whether this one is to wait."""
        if self.subject and self.subject != subject:
            return False
        self.passed = self._count()
        if self.times is not None and self.passed > self.times:
            return False
        _log.warning("failpoint", point=self.name, action=self.action, passage=self.passed)
        if self.action in _WAITS:
            return True
        _ACTIONS[self.action]()
        return False

    def is_held(self) -> bool:
        return (
            self.action == "hold" and self.directory is not None and not (self.directory / f"{self.name}.go").exists()
        )

    def _count(self) -> int:
        number = self.passed + 1
        while self.directory is not None:
            try:
                (self.directory / f"{self.name}.{number}").touch(exist_ok=False)
            except FileExistsError:
                number += 1
            else:
                break
        return number


_armed: dict[str, list[_Trap]] = {}


def arm(specification: str, directory: Path | None = None) -> None:
    """Set this process's failpoints, in place of those that were set before. An empty text disarms all.

    Args:
        specification: see the module's docstring.
        directory: where passages are counted across processes; made when missing.

    Raises:
        ValueError: no such failpoint, no such action, or a malformed entry.
    """
    traps = [_trap(entry.strip(), directory) for entry in specification.split(";") if entry.strip()]
    _armed.clear()
    for trap in traps:
        _armed.setdefault(trap.name, []).append(trap)
    if traps and directory is not None:
        directory.mkdir(parents=True, exist_ok=True)


def failpoint(name: str) -> None:
    """A place in code that blocks its thread when it waits."""
    for trap in _armed.get(name, ()):
        if trap.spring(""):
            time.sleep(trap.seconds)
            while trap.is_held():
                time.sleep(_POLL_S)


async def async_failpoint(name: str, subject: str = "") -> None:
    """A place in a coroutine. ``sleep`` and ``hold`` let the other coroutines run; ``hang`` does not."""
    for trap in _armed.get(name, ()):
        if trap.spring(subject):
            await asyncio.sleep(trap.seconds)
            while trap.is_held():  # noqa: ASYNC110 - another process makes the file
                await asyncio.sleep(_POLL_S)


_ENTRY: Final = re.compile(
    r"(?P<name>\w+)(@(?P<subject>\w+))?=(?P<action>[a-z]+)(:(?P<first>\d+(\.\d+)?))?(:(?P<second>\d+))?"
)


def _trap(entry: str, directory: Path | None) -> _Trap:
    match = _ENTRY.fullmatch(entry)
    if match is None:
        raise ValueError(f"malformed failpoint: {entry!r}")
    name, action, first, second = match["name"], match["action"], match["first"], match["second"]
    if name not in POINTS:
        raise ValueError(f"no such failpoint: {name!r}")
    if action not in _ACTIONS and action not in _WAITS:
        raise ValueError(f"no such failpoint action: {action!r}")
    seconds, times = (first, second) if action == "sleep" else (None, first)
    if (action == "sleep") != (seconds is not None) or (action != "sleep" and second is not None):
        raise ValueError(f"malformed failpoint: {entry!r}")
    if action == "hold" and directory is None:
        raise ValueError("a failpoint that holds needs BKSI_FAILPOINTS_DIR")
    return _Trap(
        name, match["subject"] or "", action, float(seconds or 0), None if times is None else int(times), directory
    )


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _stop() -> None:
    # To this very thread, which stops before it returns. Sent to the process, another thread may take it, and this one
    # runs on until that one has been scheduled: long enough to commit.
    signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)


def _hang() -> NoReturn:
    while True:
        time.sleep(3600)


def _raise() -> NoReturn:
    raise FailpointReached


def _memory() -> NoReturn:
    raise MemoryError


_ACTIONS: Final[Mapping[str, Callable[[], None]]] = {
    "kill": _kill,
    "abort": os.abort,
    "stop": _stop,
    "hang": _hang,
    "raise": _raise,
    "memory": _memory,
}
