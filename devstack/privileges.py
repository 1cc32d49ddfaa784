"""How root runs what refuses to run as root."""

import os
import pwd
import shutil
from pathlib import Path

from devstack.process import ProcessFailed
from devstack.server import PLAIN_ENVIRONMENT


def make_data_directory(path: Path) -> None:
    """Make it, private, for who runs PostgreSQL."""
    path.mkdir(mode=0o700)
    if os.geteuid() == 0:
        os.chown(path, nobody().pw_uid, nobody().pw_gid)


def unprivileged() -> list[str]:
    """What to put before a command of PostgreSQL's; nothing unless this process is root's.

    Root becomes ``nobody``. The environment and the data directory may lie in a directory that only root can enter
    (``/root``), so the one capability stays that lets a process through; no file's permissions are changed.

    Raises:
        ProcessFailed: there is no ``setpriv``.
    """
    if os.geteuid() != 0:
        return []
    setpriv = shutil.which("setpriv", path=PLAIN_ENVIRONMENT["PATH"])
    if setpriv is None:
        raise ProcessFailed("PostgreSQL refuses to run as root, and util-linux's setpriv is not here: use a plain user")
    user = nobody()
    # What lets it through: in a container the first is often missing.
    through = [name for bit, name in ((2, "+dac_read_search"), (1, "+dac_override")) if _capabilities() >> bit & 1][:1]
    kept = ",".join(["-all", *through])
    return [
        setpriv,
        f"--reuid={user.pw_uid}",
        f"--regid={user.pw_gid}",
        "--clear-groups",
        # Without it access(2) ignores what is kept, and initdb asks access(2) whether it may run postgres.
        "--securebits=+no_setuid_fixup",
        f"--inh-caps={kept}",
        f"--ambient-caps={kept}",
        f"--bounding-set={kept}",
        "--",
    ]


def nobody() -> pwd.struct_passwd:
    """Whom root becomes: the one plain user that every system has."""
    return pwd.getpwnam("nobody")


def _capabilities() -> int:
    """The capabilities of this process, as Linux's bit mask."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return int(line.split()[1], 16)
    return 0
