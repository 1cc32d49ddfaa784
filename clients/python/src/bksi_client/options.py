"""How a client calls: where, as whom, in which language, and how long it tries."""

import json
import os
import platform
import re
import ssl
from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from typing import Any, Final, Self, TypedDict, Unpack
from urllib.parse import urlsplit

import httpx2

from bksi_client.types import Language

USER_AGENT: Final = (
    f"bksi-client/{version('bksi-client')} python/{platform.python_version()} httpx2/{version('httpx2')}"
)
Trust = ssl.SSLContext | str | bool
"""A context, the path of a file with the certificates to trust, or whether anything is checked."""
_LANGUAGES: Final[Mapping[str, str]] = {"en": "en", "zh": "zh-cn"}


class _Common(TypedDict, total=False):
    language: Language | None
    headers: Mapping[str, str]
    timeout: float | None
    patience_s: float
    retries: int | None


class Given(_Common, total=False):
    """What a client is made with, besides the URL."""

    bk_app_code: str | None
    bk_app_secret: str | None
    bk_username: str | None


class Changes(_Common, total=False):
    """What `with_options` may change."""

    bk_username: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Everything a call depends on besides the call. Not changed once it is made."""

    url: str
    bk_app_code: str = ""
    bk_app_secret: str = field(default="", repr=False)
    bk_username: str = ""
    language: Language | None = None
    extra_headers: Mapping[str, str] = field(default_factory=dict)
    timeout: float | None = None
    patience_s: float = 60.0
    retries: int | None = None

    @classmethod
    def of(cls, url: str | None, given: Given) -> "Options":
        """Options as given, or else from BKSI_URL, BKSI_APP_CODE, BKSI_APP_SECRET, BKSI_USERNAME and BKSI_LANGUAGE.

        Raises:
            ValueError: there is no URL, or nothing can be reached under it.
        """
        from_environment = {
            "bk_app_code": os.environ.get("BKSI_APP_CODE", ""),
            "bk_app_secret": os.environ.get("BKSI_APP_SECRET", ""),
            "bk_username": os.environ.get("BKSI_USERNAME", ""),
            "language": _language(os.environ.get("BKSI_LANGUAGE")),
        }
        values = _named(given)
        meant = {name: value for name, value in from_environment.items() if values.get(name) is None}
        return cls(url=checked_url(url or os.environ.get("BKSI_URL", "")), **(values | meant))

    def changed(self, changes: Changes) -> "Options":
        """With `changes` in place of what they name."""
        return replace(self, **_named(changes))

    @property
    def shown(self) -> str:
        """For people: where, and as whom."""
        app = f" as {self.bk_app_code}" if self.bk_app_code else ""
        return f"{_shown(self.url)}{app}"

    def headers(self) -> dict[str, str]:
        """Of every call."""
        identity = {
            "bk_app_code": self.bk_app_code,
            "bk_app_secret": self.bk_app_secret,
            "bk_username": self.bk_username,
        }
        given = {name: value for name, value in identity.items() if value}
        headers = {"User-Agent": USER_AGENT}
        if given:
            headers["X-Bkapi-Authorization"] = json.dumps(given)
        if self.language is not None:
            headers["blueking-language"] = _LANGUAGES[self.language]
        return headers | dict(self.extra_headers)


class Configured:
    """What both clients are: options, on connections that may be another client's."""

    options: Options
    _owns_http = True

    def with_options(self, **changes: Unpack[Changes]) -> Self:
        """This client with other options, on the same connections: ``client.with_options(timeout=3).submit(batch)``."""
        other = copy(self)
        other.options = self.options.changed(changes)
        other._owns_http = False  # noqa: SLF001 - of a copy of itself
        return other

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.options.shown}>"


def _named(given: Given | Changes) -> dict[str, Any]:
    """`given` under the names of `Options`."""
    return {"extra_headers" if name == "headers" else name: value for name, value in given.items()}


def checked_url(url: str) -> str:
    """`url` without its last ``/``.

    Raises:
        ValueError: it is none that can be called.
    """
    if not url:
        raise ValueError("no server is named: give a url, or set BKSI_URL")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https"):
        raise ValueError(f"the url {_shown(url)!r} must begin with http:// or https://")
    try:
        httpx2.URL(url)
        usable = bool(parts.hostname) and parts.port != 0
    except (httpx2.InvalidURL, ValueError):
        usable = False
    if not usable:
        raise ValueError(f"the url {_shown(url)!r} names no host that can be called")
    return url.rstrip("/")


def trusted(verify: Trust) -> ssl.SSLContext | bool:
    """`verify` as httpx2 takes it: the path of a file becomes a context."""
    return ssl.create_default_context(cafile=verify) if isinstance(verify, str) else verify


def _shown(url: str) -> str:
    """`url` without a password."""
    return re.sub(r"//[^@/]*@", "//...@", url)


def _language(text: str | None) -> Language | None:
    if not text:
        return None
    return "zh" if text.lower().startswith(("zh", "cn")) else "en"
