"""A refusal as a page: what is wrong, and what to do."""

from collections.abc import Mapping
from typing import Any

import orjson
from starlette.responses import Response

from api_shim.http.exchange import Exchange
from api_shim.http.pages.render import page
from contract.advice import ADVICE
from contract.codes import Code, Language


def refusal_page(exchange: Exchange, content: dict[str, Any], status: int, headers: Mapping[str, str]) -> Response:
    """The page that says what `content` says, which is what a program is answered."""
    permission = content["permission"]
    values = {
        "status": status,
        "message": content["message"],
        "problems": problems(content["errors"], exchange.language),
        "permission": permission and orjson.dumps(permission, option=orjson.OPT_INDENT_2).decode(),
        "request_id": content["request_id"],
    }
    return page(exchange, "refusal.html", values, status, headers)


def problems(errors: list[dict[str, Any]], language: Language) -> list[dict[str, Any]]:
    """Errors of an answer, each with what to do about it: said once for each code."""
    said: set[int] = set()
    return [{**error, "advice": _advice_once(error["code"], language, said)} for error in errors]


def advice(code: int, language: Language) -> str:
    """What to do about a code."""
    return ADVICE[Code(code)][0 if language == "en" else 1]


def _advice_once(code: int, language: Language, said: set[int]) -> str:
    if code in said:
        return ""
    said.add(code)
    return advice(code, language)
