"""What the verbs print: for people, for programs, or ids alone."""

import json as json_
import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

from cyclopts import Parameter

_HIDDEN: Final = ("Cc", "Cf", "Cs", "Zl", "Zp")
"""Unicode categories of what a terminal obeys instead of showing it, or shows elsewhere than it stands."""


@Parameter(name="*")
@dataclass(frozen=True)
class Output:
    """How results are printed."""

    output: Annotated[
        Literal["table", "json", "ids"], Parameter(help="table for people, json (a document a line), or ids alone.")
    ] = "table"
    json: Annotated[bool, Parameter(negative="", help="The same as --output json.")] = False

    @property
    def form(self) -> str:
        """The one that is meant."""
        return "json" if self.json else self.output

    def show(self, document: Mapping[str, Any], ids: Iterable[object], text: str) -> None:
        """One result: the document, its ids, or `text`."""
        if self.form == "json":
            say(as_json(document))
        elif self.form == "ids":
            for id_ in ids:
                say(str(id_))
        else:
            say(text)

    def rows(
        self, found: Iterable[Mapping[str, Any]], columns: Sequence[str], id_of: str, cells: "Mapping[str, Any]"
    ) -> None:
        """Many results. `cells` makes of an entry what stands under a column."""
        if self.form == "table":
            _table(found, columns, cells)
            return
        for entry in found:
            if self.form == "json":
                say(as_json(entry))
            elif entry.get(id_of) is not None:
                say(str(entry[id_of]))


def say(text: str) -> None:
    """A line of result."""
    print(text)  # noqa: T201 - a command speaks


def tell(text: str) -> None:
    """A line about what goes on, beside the results."""
    print(printable(text), file=sys.stderr)  # noqa: T201 - a command speaks


def printable(text: str) -> str:
    """`text` as a terminal may show it: what it would obey is written as an escape, line breaks included."""
    if text.isprintable():
        return text
    return "".join(_escaped(char) if unicodedata.category(char) in _HIDDEN else char for char in text)


def as_json(document: Mapping[str, Any]) -> str:
    """A document as one line of JSON that is safe to show: the same document to whoever parses it."""
    # Between the strings there is nothing that needs an escape.
    return printable(json_.dumps(document, ensure_ascii=False))


def _escaped(char: str) -> str:
    number = ord(char)
    if number <= 0xFFFF:
        return f"\\u{number:04x}"
    high, low = divmod(number - 0x10000, 0x400)
    return f"\\u{0xD800 + high:04x}\\u{0xDC00 + low:04x}"


def _table(found: Iterable[Mapping[str, Any]], columns: Sequence[str], cells: Mapping[str, Any]) -> None:
    rows = [
        [printable(str(cells[name](entry) if name in cells else entry.get(name, ""))) for name in columns]
        for entry in found
    ]
    if not sys.stdout.isatty():
        for row in [list(columns), *rows]:
            say("\t".join(row))
        return
    from rich.console import Console  # noqa: PLC0415 - `bksi` and its help stay quick
    from rich.table import Table  # noqa: PLC0415 - same

    table = Table(box=None, pad_edge=False)
    for name in columns:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*row)
    Console(highlight=False, markup=False).print(table)
