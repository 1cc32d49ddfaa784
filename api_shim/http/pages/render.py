"""A page as an answer: templates, links, and headers that let a browser do nothing but show it."""

import hashlib
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from importlib.resources import files
from typing import Any, Final
from urllib.parse import urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from starlette.responses import Response

from api_shim.http.exchange import Exchange, Style
from api_shim.http.pages.texts import TEXTS
from contract.codes import Language

_ASSETS: Final = {"page.css": "text/css", "page.js": "text/javascript", "icon.svg": "image/svg+xml"}
_KEPT: Final = ("status", "bk_biz_id", "bk_module_id", "outcome", "show", "lang", "limit")
"""Parameters that a page's own links go on with."""
_ASKED: Final = (*_KEPT, "id", "cursor")
"""All that pages read."""
_SAFE: Final = {"X-Content-Type-Options": "nosniff", "Cross-Origin-Resource-Policy": "same-origin"}
_POLICY: Final = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; form-action 'self';"
    " base-uri 'none'; frame-ancestors 'none'"
)
PAGE_HEADERS: Final = {
    **_SAFE,
    "Content-Security-Policy": _POLICY,
    # Not "no-referrer": by that a browser would not say whose page sends a form.
    "Referrer-Policy": "same-origin",
}


def page(
    exchange: Exchange,
    template: str,
    values: Mapping[str, Any],
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """The page that `template` makes of `values`, in the caller's language."""
    text = _ENVIRONMENT.get_template(template).render(_common(exchange), **values)
    return Response(
        text,
        status,
        headers={**exchange.headers(status), **PAGE_HEADERS, **(headers or {})},
        media_type="text/html",
    )


def asset(name: str) -> Response | None:
    """The style sheet, the script or the icon; None when there is no such thing."""
    if (media_type := _ASSETS.get(name)) is None:
        return None
    return Response(_CONTENTS[name], headers={**_SAFE, "Cache-Control": "public, max-age=3600"}, media_type=media_type)


def back(exchange: Exchange, path: str) -> Response | None:
    """To a browser that has sent a form: go and look there. None for a program, which is answered itself."""
    if exchange.style is not Style.PAGE:
        return None
    return Response(status_code=303, headers={**exchange.headers(303), "Location": link(exchange, path)})


def link(exchange: Exchange, path: str, **query: Any) -> str:
    """A link to another page, in the language of this one."""
    asked = {"lang": exchange.query["lang"]} if "lang" in exchange.query else {}
    return _address(path, {**asked, **query})


def _here(exchange: Exchange, **query: Any) -> str:
    """A link to this page with some parameters changed; None takes one away."""
    kept = {name: exchange.query[name] for name in _KEPT if exchange.query.get(name)}
    return _address("", {**kept, **query}) or "?"


def _address(path: str, query: Mapping[str, Any]) -> str:
    said = urlencode({name: value for name, value in query.items() if value is not None})
    return f"{path}?{said}" if said else path


def _common(exchange: Exchange) -> dict[str, Any]:
    return {
        "language": exchange.language,
        "t": _SAY[exchange.language],
        "link": partial(link, exchange),
        "here": partial(_here, exchange),
        "query": {**dict.fromkeys(_ASKED, ""), **exchange.query},
        "app": exchange.bk_app_code,
        "refresh_s": 0,
    }


def _say(language: Language) -> Callable[[str], str]:
    place = 0 if language == "en" else 1
    return lambda name: TEXTS[name][place]


def _moment(value: str | datetime | None) -> Markup | str:
    """A time in UTC, which the script shows in the reader's own zone."""
    if value is None:
        return "–"
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    return Markup('<time datetime="{}">{} UTC</time>').format(
        moment.isoformat(timespec="seconds"), moment.strftime("%Y-%m-%d %H:%M:%S")
    )


def _marked(text: str) -> Markup:
    """A text of ours with what stands in backticks as code."""
    parts = enumerate(text.split("`"))
    return Markup("").join(Markup("<code>{}</code>").format(part) if odd % 2 else escape(part) for odd, part in parts)


def _asset_address(name: str) -> str:
    return f"/assets/{name}?v={hashlib.sha256(_CONTENTS[name]).hexdigest()[:8]}"


_SAY: Final = {language: _say(language) for language in ("en", "zh")}
_CONTENTS: Final = {name: files(__package__).joinpath("assets", name).read_bytes() for name in _ASSETS}
_ENVIRONMENT: Final = Environment(
    loader=PackageLoader(__package__),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    auto_reload=False,
)
_ENVIRONMENT.filters |= {"moment": _moment, "marked": _marked}
_ENVIRONMENT.globals["asset"] = _asset_address
