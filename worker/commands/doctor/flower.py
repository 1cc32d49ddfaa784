"""Flower: whether strangers can look."""

from typing import Final
from urllib.parse import urlsplit

import httpx2

from plumbing.urls import is_loopback, without_secrets
from worker.commands.doctor.finding import Finding, error, ok, skipped, warning

_TIMEOUT_S: Final = 5.0


async def examine_flower(url: str | None) -> Finding:
    """Ask for a page without credentials."""
    if not url:
        return skipped("flower", "not looked at", "Give its address: --flower http://127.0.0.1:5555")
    shown = without_secrets(url)
    parts = urlsplit(url)
    bare = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}/api/workers"
    try:
        async with httpx2.AsyncClient(timeout=_TIMEOUT_S, trust_env=False) as http:
            status = (await http.get(bare)).status_code
    except (httpx2.HTTPError, httpx2.InvalidURL) as failure:
        return warning("flower", f"{shown}: {type(failure).__name__}", "Start it, or correct the address.")
    if status in (301, 302, 303, 307, 308, 401, 403):
        return ok("flower", f"{shown} asks for a login")
    level = warning if is_loopback(parts.hostname) else error
    return level(
        "flower",
        f"{shown} shows every request to whoever asks",
        "Set FLOWER_BASIC_AUTH (and unset FLOWER_UNAUTHENTICATED_API), keep it on loopback, start it as `bksi flower`.",
    )
