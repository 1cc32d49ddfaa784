"""What an import did, for people and for machines."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Protocol

from rich.console import Group, RenderableType
from rich.table import Column, Table
from rich.text import Text

from worker.catalogue.answers import Kind
from worker.catalogue.changes import Changes
from worker.catalogue.items import KEY_COLUMNS, Refusal
from worker.commands.console import out

SHOWN: Final = 20
"""How many lines of one sort people get to see; ``--json`` has all of them."""


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What an import did, or (`dry_run`) would do. `version` is the catalogue's afterwards."""

    changes: Changes
    version: int
    dry_run: bool = False

    @property
    def refused(self) -> tuple[Refusal, ...]:
        """The items and documents that were not taken over."""
        return tuple(self.changes.refused)

    def counts(self) -> dict[Kind, dict[str, int]]:
        """For each kind how many rows were added, changed, removed, left alike, refused."""
        refused = Counter(refusal.kind for refusal in self.changes.refused)
        return {
            kind: {
                "added": len(self.changes.added[kind]),
                "changed": len(self.changes.changed[kind]),
                "removed": len(self.changes.removed[kind]),
                "unchanged": self.changes.unchanged[kind],
                "refused": refused[kind],
            }
            for kind in Kind
        }

    def as_dict(self) -> dict[str, Any]:
        """The whole report as plain JSON values."""
        return {
            "version": self.version,
            "dry_run": self.dry_run,
            "counts": self.counts(),
            "changes": [
                {"kind": kind, "action": action, **dict(zip(KEY_COLUMNS[kind], key, strict=True)), "fields": fields}
                for kind, action, key, fields in self._changes()
            ],
            "refused": [asdict(refusal) for refusal in self.changes.refused],
            "notes": list(self.changes.notes),
        }

    def _changes(self) -> Iterator[tuple[Kind, str, tuple[int, ...], list[str]]]:
        for kind in Kind:
            for key in self.changes.added[kind]:
                yield kind, "added", key, []
            for key in self.changes.changed[kind]:
                yield kind, "changed", key, list(self.changes.fields[kind, key])
            for key in self.changes.removed[kind]:
                yield kind, "removed", key, []

    def __rich__(self) -> RenderableType:
        """A table of counts, then what changed, what was refused, and what else there is to know."""
        return Group(self._table(), *self._changed_lines(), *self._refused_lines(), *self._notes(), self._outcome())

    def _table(self) -> Table:
        counted = {kind.replace("_", " "): counts.values() for kind, counts in self.counts().items()}
        shown = {name: counts for name, counts in counted.items() if any(counts)}
        return counts_table(shown, "added", "changed", "removed", "unchanged", "refused")

    def _changed_lines(self) -> Iterator[Text]:
        told = [change for change in self._changes() if change[1] != "added"]
        for kind, action, key, fields in told[:SHOWN]:
            columns = ", ".join(f"{name}={value}" for name, value in zip(KEY_COLUMNS[kind], key, strict=True))
            yield Text(f"{action} {kind} {columns}" + (f": {', '.join(fields)}" if fields else ""))
        yield from rest(len(told), " changes")

    def _refused_lines(self) -> Iterator[Text]:
        for refusal in self.refused[:SHOWN]:
            yield Text(f"refused {refusal}", style="red")
        yield from rest(len(self.refused), " refusals")

    def _notes(self) -> Iterator[Text]:
        for note in self.changes.notes:
            yield Text(f"note: {note}", style="yellow")

    def _outcome(self) -> Text:
        if self.dry_run:
            return Text(f"Dry run: nothing was written. The catalogue stays at version {self.version}.")
        if self.changes.is_empty:
            return Text(f"Nothing to change. The catalogue stays at version {self.version}.")
        return Text(f"The catalogue is now at version {self.version}.")


def counts_table(counted: Mapping[str, Iterable[int]], *names: str) -> Table:
    """A line of counts for each of what is `counted`; none is a dot."""
    table = Table("", *(Column(name, justify="right") for name in names), box=None, pad_edge=False)
    for what, counts in counted.items():
        table.add_row(what, *(str(count) if count else "·" for count in counts))
    return table


def rest(count: int, what: str = "") -> Iterator[Text]:
    """How many lines of one sort are not shown, if any."""
    if count > SHOWN:
        yield Text(f"… and {count - SHOWN} more{what} (--json lists all)")


class Printable(Protocol):
    """What a command has done; Rich shows it to people."""

    def as_dict(self) -> dict[str, Any]:
        """The same as plain JSON values."""


def print_report(report: Printable, *, json: bool) -> None:
    """Print it, as a table or as one JSON object."""
    if json:
        out.print_json(data=report.as_dict())
    else:
        out.print(report)
