"""What this process was given beside its settings: variables that nobody reads, and limits of the system."""

import resource
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from typing import Final

from contract.settings import PREFIX, Settings
from worker.commands.doctor.finding import Finding, ok, warning

_OF_COMMANDS: Final = frozenset(
    f"{PREFIX}{name}" for name in ("URL", "APP_CODE", "APP_SECRET", "USERNAME", "LANGUAGE", "PROFILE", "FLOWER_URL")
)
"""Read by the caller's commands and by this one."""
_OF_COMPOSE: Final = frozenset(f"{PREFIX}{name}" for name in ("PUBLISH", "IMAGE", "WORKERS", "SERVERS"))
_FILES_BESIDES_CALLERS: Final = 512


def examine_environment(names: Iterable[str]) -> Iterator[Finding]:
    """Name each variable of ours that is misspelt: its setting stays at the default, and nothing else says so."""
    settings = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    known = settings | _OF_COMMANDS | _OF_COMPOSE
    unknown = sorted(name for name in names if name.startswith(PREFIX) and name.upper() not in known)
    for name in unknown:
        meant = get_close_matches(name.upper(), known, n=1)
        mend = f"Did you mean {meant[0]}?" if meant else "Unset it; docs/settings.md has those that are read."
        yield warning("environment", f"nobody reads {name}", mend)
    if not unknown:
        yield ok("environment", f"every {PREFIX}… variable is a setting")


def examine_open_files(settings: Settings) -> Finding:
    """Whether as many callers as may wait have room for their connections."""
    limit, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = settings.max_open_waits + _FILES_BESIDES_CALLERS
    if limit == resource.RLIM_INFINITY or limit >= needed:
        return ok("open files", "unlimited" if limit == resource.RLIM_INFINITY else f"{limit} are allowed")
    return warning(
        "open files",
        f"{limit} are allowed here (at most {most}), and a server of these settings may need {needed}",
        f"Where the server runs: ulimit -n {needed} (LimitNOFILE= of systemd), or lower BKSI_MAX_OPEN_WAITS.",
    )
