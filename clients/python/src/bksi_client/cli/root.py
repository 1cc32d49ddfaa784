"""The root of `bksi`: the caller's verbs, and beside them whatever is mounted by the entry points `bksi.commands`.

A server's distribution brings its commands that way, so that neither it nor the client has to know the other.
"""

from collections.abc import Iterable
from importlib.metadata import EntryPoint, entry_points, version
from importlib.util import find_spec
from typing import Final

from cyclopts import App

from bksi_client.cli.errors import EXIT_CODES
from bksi_client.cli.jobs import app as jobs
from bksi_client.cli.verbs import app as verbs

GROUP: Final = "bksi.commands"
INSTALL_COMPLETION: Final = """Install shell completion for this application.

After it, restart the shell or source its configuration file.
"""
verbs.command(jobs)


def root() -> App:
    """Everything that is installed."""
    return mount([verbs, *sides(entry_points(group=GROUP))])


def mount(apps: Iterable[App]) -> App:
    """One app that has the commands of all `apps` directly under it."""
    root = App(
        name="bksi",
        help="Asynchronous create_service_instance for BlueKing CMDB.",
        help_epilogue=EXIT_CODES,
        version=lambda: version("bksi-client"),
    )
    root.command("bksi_client.cli.completion:install", name="--install-completion", help=INSTALL_COMPLETION)
    for app in apps:
        root.update(app)
    return root


def sides(points: Iterable[EntryPoint]) -> list[App]:
    """The apps of `points`; a side that is not installed, or lacks the libraries of its extra, has no commands."""
    return [app for point in sorted(points) if (app := _load(point)) is not None]


def _load(point: EntryPoint) -> App | None:
    try:
        app: App = point.load()
    except ModuleNotFoundError as missing:
        # A module that is not there inside a package that is: a mistake, and no extra that was left out.
        if missing.name is None or find_spec(missing.name.partition(".")[0]) is not None:
            raise
        return None
    return app
