"""Whether an import may remove what it would remove: said before, and asked for."""

import sys
from collections.abc import Iterator
from typing import Final

from worker.catalogue.report import ImportReport
from worker.commands.console import err

MOST_WITHOUT_FORCE: Final = 0.2
"""Of the rows of one kind that an import compares."""


class NotRemoved(Exception):
    """Nothing was imported, because of what would be removed; the text says what to do."""


def require_consent(looked: ImportReport, *, yes: bool, force: bool) -> None:
    """Say what an import would remove, and ask.

    `looked` is of a dry run. `yes`: do not ask. `force`: let it remove more than a fifth of a kind.

    Raises:
        NotRemoved: it is too much, or nobody has said yes.
    """
    lines = list(_removals(looked, force=force))
    if not lines:
        return
    for line in lines:
        err.print(line, style="yellow", markup=False, highlight=False)
    if yes:
        return
    if not sys.stdin.isatty():
        raise NotRemoved("nothing was imported: say --yes to have that removed, or leave --prune out")
    if input("Remove that? [y/N] ").strip().lower() not in ("y", "yes"):
        raise NotRemoved("nothing was imported")


def _removals(looked: ImportReport, *, force: bool) -> Iterator[str]:
    for kind, counts in looked.counts().items():
        removed = counts["removed"]
        stored = removed + counts["changed"] + counts["unchanged"]
        if not removed:
            continue
        what = f"{removed} of {stored} rows of {kind}"
        if removed > stored * MOST_WITHOUT_FORCE and not force:
            raise NotRemoved(
                f"nothing was imported: {what} would be removed, more than a fifth. Look with --dry-run whether the "
                "files are whole, and say --force if they are"
            )
        yield f"Would remove {what}"
