"""What an import did, for people and for machines."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Final

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from worker.catalogue.answers import Kind
from worker.catalogue.changes import Changes
from worker.catalogue.items import KEY_COLUMNS, Refusal

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
        table = Table("", "added", "changed", "removed", "unchanged", "refused", box=None, pad_edge=False)
        for column in table.columns[1:]:
            column.justify = "right"
        for kind, counts in self.counts().items():
            if any(counts.values()):
                table.add_row(kind.replace("_", " "), *(str(count) if count else "·" for count in counts.values()))
        return table

    def _changed_lines(self) -> Iterator[Text]:
        told = [change for change in self._changes() if change[1] != "added"]
        for kind, action, key, fields in told[:SHOWN]:
            columns = ", ".join(f"{name}={value}" for name, value in zip(KEY_COLUMNS[kind], key, strict=True))
            yield Text(f"{action} {kind} {columns}" + (f": {', '.join(fields)}" if fields else ""))
        yield from _rest(len(told), "changes")

    def _refused_lines(self) -> Iterator[Text]:
        for refusal in self.refused[:SHOWN]:
            yield Text(f"refused {refusal}", style="red")
        yield from _rest(len(self.refused), "refusals")

    def _notes(self) -> Iterator[Text]:
        for note in self.changes.notes:
            yield Text(f"note: {note}", style="yellow")

    def _outcome(self) -> Text:
        if self.dry_run:
            return Text(f"Dry run: nothing was written. The catalogue stays at version {self.version}.")
        if self.changes.is_empty:
            return Text(f"Nothing to change. The catalogue stays at version {self.version}.")
        return Text(f"The catalogue is now at version {self.version}.")


def _rest(count: int, what: str) -> Iterator[Text]:
    if count > SHOWN:
        yield Text(f"… and {count - SHOWN} more {what} (--json lists all)")


def print_report(report: ImportReport, console: Console, *, json: bool = False) -> None:
    """Print the report on `console`, as a table or as one JSON object."""
    if json:
        console.print_json(data=report.as_dict(), indent=2)
    else:
        console.print(report, soft_wrap=True)
