"""Where the server is, so that nobody types it again: ``bksi profile``. Secrets are not among what is kept."""

import json
import os
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from bksi_client.cli.errors import CommandFailed
from bksi_client.cli.output import say

app = App(name="profile", help="Servers by name, for --profile and BKSI_PROFILE.")


@app.command
def add(
    name: str,
    *,
    url: str,
    app_code: Annotated[str, Parameter(env_var="BKSI_APP_CODE")] = "",
    language: str = "",
) -> None:
    """Keep a server under NAME. A secret is not kept: set BKSI_APP_SECRET.

    Args:
        name: letters, digits, ``-`` and ``_``. The profile `default` is used when nothing else says where.
        url: of the server.
        app_code: of the calling application.
        language: of messages, en or zh.
    """
    from bksi_client.options import checked_url  # noqa: PLC0415 - `bksi` and its help stay quick

    if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
        raise CommandFailed(f"{name}: a profile's name has only letters, digits, - and _")
    try:
        checked_url(url)
    except ValueError as error:
        raise CommandFailed(f"--url: {error}") from None
    given = {"url": url, "app_code": app_code, "language": language}
    _write(_read() | {name: {key: value for key, value in given.items() if value}})
    say(f"{name} is in {_path()}")


@app.command
def remove(name: str) -> None:
    """Forget the server NAME."""
    known = _read()
    profile(name)
    del known[name]
    _write(known)


@app.command(name="list")
def list_() -> None:
    """The servers that are known."""
    for name, kept in sorted(_read().items()):
        say(f"{name}\t{kept.get('url', '')}\t{kept.get('app_code', '')}")


def profile(name: str) -> dict[str, str]:
    """What is kept under `name`.

    Raises:
        CommandFailed: nothing is.
    """
    known = _read()
    if name not in known:
        raise CommandFailed(f"--profile: there is none called {name} in {_path()}; `bksi profile add {name} --url …`")
    return known[name]


def default_profile() -> dict[str, str]:
    """What is kept under ``default``; empty when nothing is."""
    return _read().get("default", {})


def _path() -> Path:
    return Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser() / "bksi" / "profiles.toml"


def _read() -> dict[str, dict[str, str]]:
    try:
        known: dict[str, Any] = tomllib.loads(_path().read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise CommandFailed(f"{_path()}: {error}") from None
    return {name: kept for name, kept in known.items() if isinstance(kept, dict)}


def _write(known: dict[str, dict[str, str]]) -> None:
    # A JSON string is a TOML string.
    text = "\n".join(
        f"[{name}]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in kept.items())
        for name, kept in sorted(known.items())
    )
    path = _path()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        path.chmod(0o600)
    except OSError as error:
        raise CommandFailed(f"{path}: {error.strerror}") from None
