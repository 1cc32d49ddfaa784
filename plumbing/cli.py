"""The command `bksi`: the commands of every side that is installed, mounted on one app."""

import sys
from importlib.metadata import EntryPoint, entry_points, version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cyclopts import App

GROUP = "bksi.commands"
NOTHING_INSTALLED = (
    "bksi: only the client library is installed, and it has no commands.\n"
    "Install a side that has some:\n"
    "  pip install 'bksi[shim]'      submit, status: the HTTP server and its client commands\n"
    "  pip install 'bksi[worker]'    worker, migrate, catalogue, show, dlq, doctor: the worker and its database\n"
    "  pip install 'bksi[devstack]'  up: the whole system on one machine"
)


def main() -> None:
    """Run `bksi`; a side whose extra is not installed has no commands, and that is no error."""
    apps = [app for point in sorted(entry_points(group=GROUP)) if (app := _load(point)) is not None]
    if not apps:
        sys.exit(NOTHING_INSTALLED)
    mount(apps)()


def mount(apps: "list[App]") -> "App":
    """One app that has the commands of all `apps` directly under it."""
    from cyclopts import App  # noqa: PLC0415 - comes with the extras, not with the client

    root = App(
        name="bksi",
        help="Asynchronous create_service_instance for BlueKing CMDB.",
        version=lambda: version("bksi"),
    )
    for app in apps:
        root.command(app, name="*")
    return root


def _load(point: EntryPoint) -> "App | None":
    """The side's app, or None when the side or a library it stands on is not installed."""
    try:
        app: App = point.load()
    except ModuleNotFoundError as missing:
        if missing.name is None or _is_ours(missing.name, point):
            raise
        return None
    return app


def _is_ours(missing: str, point: EntryPoint) -> bool:
    """Whether `missing` is a module of our own packages, other than the side itself: a bug, not a missing extra."""
    ours = {"contract", "api_shim", "worker", "devstack"}
    return missing.partition(".")[0] in ours and missing not in (point.module, point.module.partition(".")[0])
