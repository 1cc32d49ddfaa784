"""What the worker's commands print with, and how they fail: one line on stderr, never a traceback.

No text that others have written can move the cursor, change colours or pretend to be a line of ours.
"""

import asyncio
import os
import unicodedata
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, TypeVar

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Column, Table

from contract.settings import load_settings
from plumbing.urls import without_secrets
from worker.postgres.engine import Engine, create_engine
from worker.postgres.errors import DatabaseError, typed_errors

Result = TypeVar("Result")
_NEUTRAL: Final = "\n\t"
_HIDDEN: Final = ("Cc", "Cf", "Cs", "Zl", "Zp")


def printable(text: str) -> str:
    r"""`text` with an escape (``\u001b``) for every control or format character but line ends and tabs.

    JSON stays the same JSON.
    """
    if text.isprintable():
        return text
    return "".join(character if _is_shown(character) else _escaped(character) for character in text)


def _is_shown(character: str) -> bool:
    return character in _NEUTRAL or unicodedata.category(character) not in _HIDDEN


def _escaped(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))


class PlainConsole(Console):
    """A console whose texts are `printable`; colours are its own."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """The segments of `renderable`."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(printable(segment.text), segment.style)

    def on_broken_pipe(self) -> None:
        """Go on, for the exit code's sake; Rich would say that the command has failed."""
        os.dup2(os.open(os.devnull, os.O_WRONLY), self.file.fileno())


out: Final = PlainConsole(soft_wrap=True)
"""Results. Text is printed as it is: neither markup nor highlighting looks into what CMDB named its things."""
err: Final = PlainConsole(stderr=True, soft_wrap=True)
"""Progress and errors."""


@contextmanager
def plain_errors(*expected: type[Exception], of: str = "") -> Iterator[None]:
    """End the command with exit code 1 and one line, which names `of`, when one of `expected` is raised."""
    try:
        yield
    except expected as error:
        raise SystemExit(refuse(f"{of}: {error}" if of else str(error))) from None


def in_database(
    run: Callable[[Engine], Awaitable[Result]], *, statement_timeout_ms: int = 30_000, found: Iterable[object] = ()
) -> Result:
    """Run a command's part that needs PostgreSQL (`BKSI_POSTGRES_DSN`) and return its result.

    Raises:
        SystemExit: the database said no; why is on stderr, behind what is `found` to be wrong already.
    """
    dsn = load_settings().postgres_dsn

    async def call() -> Result:
        engine = create_engine(
            dsn,
            connections=1,
            statement_timeout_ms=statement_timeout_ms,
            application_name="bksi",
        )
        try:
            return await run(engine)
        finally:
            await engine.dispose()

    try:
        with typed_errors():
            return asyncio.run(call())
    except DatabaseError as error:
        for fault in found:
            refuse(str(fault))
        raise SystemExit(refuse(f"BKSI_POSTGRES_DSN ({without_secrets(dsn)}): {error}")) from None


def uncut(*names: str, **look: Any) -> Table:
    """A table that cuts nothing off, however narrow the terminal is."""
    return Table(*(Column(name, overflow="fold") for name in names), **look)


def print_outcomes(outcomes: Mapping[str, str | None], done: str, *, json: bool) -> int:
    """Say what became of each thing that a command was given, and return its exit code: 1 when one was not done.

    Args:
        outcomes: by id, why it was not done; None where it was.
        done: what was to be done, as a participle.
        json: print one JSON list; why something was not done is on stderr all the same.
    """
    if json:
        out.print_json(data=[{"id": id_, "done": why is None, "reason": why} for id_, why in outcomes.items()])
    for id_, why in outcomes.items():
        if why is not None:
            refuse(f"{id_}: not {done}: {why}")
        elif not json:
            out.print(f"{id_}: {done}", highlight=False)
    return int(any(outcomes.values()))


def refuse(message: str) -> int:
    """Say why a command did not do what it was asked for, and return its exit code."""
    err.print(message, style="red", markup=False, highlight=False)
    return 1
