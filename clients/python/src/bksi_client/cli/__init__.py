"""The command `bksi`: what a caller does from a shell, and the commands of every side that is installed beside it."""

import gc
import io
import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Final

NOTHING_INSTALLED: Final = (
    "bksi: only the client library is installed, and it has no command.\n"
    "Install what has some:\n"
    "  pip install 'bksi-client[cli]'  submit, status, watch, list …: what a caller does\n"
    "  pip install 'bksi[shim]'        serve: the HTTP server\n"
    "  pip install 'bksi[worker]'      worker, migrate, catalogue, show, dlq, doctor: the worker and its database\n"
    "  pip install 'bksi[devstack]'    up: the whole system on one machine"
)


def main() -> None:
    """Run `bksi`. What is wrong is said in one line on stderr; see `bksi_client.cli.errors` for the exit codes."""
    if find_spec("cyclopts") is None:
        sys.exit(NOTHING_INSTALLED)
    # What is loaded is no garbage; to look for some after every 700 objects takes a twentieth of a short command.
    gc.set_threshold(20_000)
    from cyclopts import CycloptsError  # noqa: PLC0415 - what follows comes with the extra

    from bksi_client.cli.errors import USAGE, CommandFailed  # noqa: PLC0415
    from bksi_client.cli.output import printable  # noqa: PLC0415
    from bksi_client.cli.root import root  # noqa: PLC0415

    _print_anything()
    try:
        app = root()
        if sys.argv[1:] in ([], ["-h"], ["--help"]):
            # Names and sentences alone; what would read Markdown in them takes as long to load as half of the rest.
            app.help_format = "plaintext"
        try:
            app(sys.argv[1:], print_error=False, exit_on_error=False)
        finally:
            _print_all()
    except CycloptsError as wrong:
        print(f"bksi: {printable(' '.join(str(wrong).split()))}", file=sys.stderr)  # noqa: T201 - a command speaks
        sys.exit(USAGE)
    except CommandFailed as failed:
        print(f"bksi: {printable(str(failed))}", file=sys.stderr)  # noqa: T201 - a command speaks
        sys.exit(failed.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(0)
    finally:
        # All of it goes now. To look through it for garbage first takes a fifth of a short command's time.
        gc.freeze()


def _print_all() -> None:
    """Print what is still to be printed while it can be said that it cannot be: a disk is full.

    Whoever has read enough and closed a pipe is no reason to end otherwise.
    """
    from bksi_client.cli.errors import FAILED, CommandFailed  # noqa: PLC0415 - `cyclopts` may be missing

    try:
        sys.stdout.flush()
    except OSError as error:
        # Python would try once more at the end, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            raise CommandFailed(f"standard output: {error.strerror}", FAILED) from None


def _print_anything() -> None:
    """What a terminal's encoding cannot show is printed as an escape; what nobody listens to, nowhere."""
    if sys.stdout is None:
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - for as long as the process lives
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
