"""The command `bksi`: what a caller does from a shell, and the commands of every side that is installed beside it."""

import sys
from importlib.util import find_spec
from typing import Final

NOTHING_INSTALLED: Final = (
    "bksi: only the client library is installed, and it has no command.\n"
    "Install what has some:\n"
    "  pip install 'bksi-client[cli]'  submit, status: what a caller does\n"
    "  pip install 'bksi[shim]'        serve: the HTTP server\n"
    "  pip install 'bksi[worker]'      worker, migrate, catalogue, show, dlq, doctor: the worker and its database\n"
    "  pip install 'bksi[devstack]'    up: the whole system on one machine"
)


def main() -> None:
    """Run `bksi`."""
    if find_spec("cyclopts") is None:
        sys.exit(NOTHING_INSTALLED)
    from bksi_client.cli.root import root  # noqa: PLC0415 - comes with the extra

    root()()
