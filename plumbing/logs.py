"""Structured logs, the same in every process: one JSON object a line, or coloured text on a terminal."""

import contextlib
import json
import logging
import os
import sys
import threading
import traceback
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Final, Literal, NoReturn

import orjson
import structlog

_STDERR: Final = 2
_MOST_FRAMES: Final = 5
_SHARED: Final[Sequence[Any]] = (
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
)


def configure_logging(level: str, form: Literal["json", "console"]) -> None:
    """Send structlog's and the standard library's records to standard error, in one form.

    Args:
        level: what is less than it is dropped; a name of the standard library's.
        form: one JSON object a line, or text for people.
    """
    if form == "json":
        renderer: Any = structlog.processors.JSONRenderer()
        _write_lines(level)
        _log_what_python_says()
    else:
        renderer = structlog.dev.ConsoleRenderer(colors=_is_terminal())
        structlog.configure(
            processors=[*_SHARED, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
            logger_factory=structlog.stdlib.LoggerFactory(),
            wrapper_class=structlog.stdlib.BoundLogger,
            cache_logger_on_first_use=True,
        )
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=_SHARED,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                renderer,
            ],
        )
    )
    logging.captureWarnings(True)  # noqa: FBT003 - the standard library's signature
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    if root.level == logging.INFO:
        # A line for each call to CMDB, several a second where it is watched, that names no request.
        logging.getLogger("httpx2").setLevel(logging.WARNING)


def _write_lines(level: str) -> None:
    """Past the standard library: each request has a line or two, and this way takes a sixth of the time."""
    structlog.configure(
        processors=[
            *_SHARED,
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(serializer=_line),
        ],
        logger_factory=_Lines,
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=True,
    )


def _log_what_python_says() -> None:
    """Of an exception that nobody catches it says all there is, on lines that are no JSON."""
    log = structlog.get_logger("python")

    def uncaught(error: BaseException | None, where: str) -> None:
        log.critical("uncaught exception", exc_info=error, where=where)

    def uncaught_at_the_end(_kind: type[BaseException], error: BaseException, _traceback: TracebackType | None) -> None:
        uncaught(error, "main")

    def uncaught_in_a_thread(args: threading.ExceptHookArgs) -> None:
        if args.exc_type is not SystemExit:  # which ends a thread, and is no failure
            uncaught(args.exc_value, f"thread {args.thread and args.thread.name}")

    sys.excepthook = uncaught_at_the_end
    threading.excepthook = uncaught_in_a_thread
    sys.unraisablehook = lambda args: uncaught(args.exc_value, args.err_msg or "unraisable")


def _line(event: dict[str, Any], **_: Any) -> bytes:
    try:
        return orjson.dumps(event, default=repr, option=orjson.OPT_APPEND_NEWLINE)
    except TypeError:  # a text that is no Unicode, or a number that no machine word holds
        return json.dumps(event, default=repr).encode() + b"\n"


class _Lines:
    """Writes each line in one step, so that those of several processes stay apart. A full disk costs the line alone."""

    def __init__(self, name: str = "bksi") -> None:
        self.name = name

    def msg(self, line: bytes) -> None:
        """Write `line`."""
        if sys.__stderr__ is not None:  # else it was closed as this process began: a socket may have its number
            with contextlib.suppress(OSError):
                os.write(_STDERR, line)

    debug = info = warning = error = critical = msg


def _is_terminal() -> bool:
    return sys.stderr is not None and sys.stderr.isatty()


def give_up(reason: str) -> NoReturn:
    """End this process with exit code 1; the last line of its log says why, and on a terminal a plain one."""
    if _is_terminal():
        sys.exit(reason)
    structlog.get_logger("bksi").critical(reason)
    sys.exit(1)


def frames_of(error: BaseException) -> list[str]:
    """Where an error was raised: the innermost frames. Not what it says: that may hold a caller's values."""
    return traceback.format_tb(error.__traceback__)[-_MOST_FRAMES:]
