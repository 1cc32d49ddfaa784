"""A Valkey whose SIGKILL is a power loss: what it has written and not yet fsynced is gone."""

import shutil
import subprocess
from pathlib import Path
from typing import Final

from devstack.process import Guard
from devstack.servers import Valkey

_SOURCE: Final = Path(__file__).with_name("power_loss.c")


class NoCompiler(Exception):
    """There is no C compiler on this machine to build the preloaded library with."""


def build(directory: Path) -> Path:
    """Compile the library that keeps unsynced writes in memory, and return its path.

    Raises:
        NoCompiler: neither ``cc`` nor ``gcc`` nor ``clang`` is on the PATH.
        subprocess.CalledProcessError: it does not compile.
    """
    compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    if compiler is None:
        raise NoCompiler("no C compiler (cc, gcc or clang) is installed")
    library = directory / "power_loss.so"
    command = [compiler, "-shared", "-fPIC", "-O2", "-o", str(library), str(_SOURCE), "-ldl", "-lpthread"]
    subprocess.run(command, check=True, capture_output=True)
    return library


class PowerlessValkey(Valkey):
    """Started as `Valkey` is; `kill` is the power loss.

    `library` is what `build` returned, `appendfsync` Valkey's setting: ``always`` or ``everysec``.
    """

    def __init__(
        self, directory: Path, guard: Guard, library: Path, *, appendfsync: str = "always", has_users: bool = False
    ) -> None:
        super().__init__(
            directory,
            guard,
            settings={"appendfsync": appendfsync},
            environment={"LD_PRELOAD": str(library)},
            has_users=has_users,
        )
