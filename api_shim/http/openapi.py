"""What `/openapi.json` says beside the paths: parameters, headers and the answers that every call may give.

The routes read their requests themselves, so that no framework's own 422 ever shows; hence this is written by hand.
"""

from enum import StrEnum
from typing import Any, Final

from pydantic import TypeAdapter

from api_shim.http import openapi_examples as examples
from api_shim.http.answers import status_of
from api_shim.http.field_texts import HEADERS, PARAMETERS
from api_shim.http.openapi_body import BATCH_BODY
from api_shim.http.pages.render import PAGE_HEADERS
from contract.answer.report import Envelope
from contract.answer.status import Outcome, Status
from contract.codes import Code

Schema = dict[str, Any]
Answers = dict[int | str, dict[str, Any]]
ENVELOPE: Final[Schema] = TypeAdapter(Envelope).json_schema()
COMMON: Final = ("X-Request-Id", "Cache-Control", "Content-Language", "Vary")
"""Headers of every answer but those for machines that watch."""
_ERROR: Final[Schema] = {
    "title": "Error",
    "type": "object",
    "properties": {
        "path": {"type": "string"},
        "code": {"type": "integer"},
        "message": {"type": "string"},
        "reason": {"type": "string"},
        "offset": {"type": "integer"},
    },
    "required": ["path", "code", "message"],
    "additionalProperties": False,
}
ERRORS: Final[Schema] = {"type": "array", "items": _ERROR}


def enum_of(names: type[StrEnum]) -> Schema:
    """One of these."""
    return {"enum": [name.value for name in names]}


_REFUSAL: Final[Schema] = {
    **ENVELOPE,
    "title": "Refusal",
    "properties": {
        **ENVELOPE["properties"],
        "errors": ERRORS,
        "status": enum_of(Status),
    },
    "required": [*ENVELOPE["required"], "errors"],
}


def headers(*names: str) -> Schema:
    """The headers of an answer."""
    return {name: {"description": HEADERS[name][0], "schema": {"type": "string"}} for name in names}


def answer(description: str, schema: Schema, shown: Schema, *more: str) -> dict[str, Any]:
    """An answer with its examples; `more` are headers besides the common ones."""
    content = {"application/json": {"schema": schema, "examples": shown}}
    return {"description": description, "headers": headers(*COMMON, *more), "content": content}


def with_page(said: dict[str, Any], description: str) -> dict[str, Any]:
    """An answer that is a page where ``Accept`` prefers HTML."""
    content = {**said["content"], "text/html": {"schema": {"type": "string", "description": description}}}
    return {**said, "content": content, "headers": {**said["headers"], **headers(*PAGE_HEADERS)}}


def _query(name: str, schema: Schema) -> Schema:
    return {"name": name, "in": "query", "required": False, "schema": schema, "description": PARAMETERS[name][0]}


def _header(name: str, pattern: str) -> Schema:
    schema = {"type": "string", "pattern": pattern}
    return {"name": name, "in": "header", "required": False, "schema": schema, "description": PARAMETERS[name][0]}


_REFUSALS: Final = {
    400: "A field is wrong; `errors` names at most 20",
    401: "Not authenticated",
    403: "Not allowed; `permission` says what is missing",
    404: "Unknown, or another application's",
    408: "Sent too slowly",
    409: "Too late, or not in this state",
    410: "Expired",
    413: "Too large",
    415: "Not plain JSON in UTF-8",
    422: "The idempotency key belongs to another body",
    429: "Too many calls",
    431: "Headers too large",
    500: "Our bug",
    503: "Busy, or Redis does not answer",
}
_OF_REFUSALS: Final = {
    401: ("WWW-Authenticate",),
    429: ("Retry-After",),
    503: ("Retry-After",),
    400: ("Connection",),
    408: ("Connection",),
    413: ("Connection",),
}


def _shown(status: int) -> Schema:
    codes = [Code.BODY_TOO_LARGE] if status == 431 else [code for code in Code if status_of(code) == status]
    return {name: example for code in codes for name, example in examples.refusal(code).items()}


REFUSAL_RESPONSES: Final[Schema] = {
    f"Refused{status}": with_page(
        answer(description, _REFUSAL, _shown(status), "Location", *_OF_REFUSALS.get(status, ())),
        "The same for people, with what to do",
    )
    for status, description in _REFUSALS.items()
}
"""For the document's components: each call may answer all of them."""
REFUSED: Final[Answers] = {
    status: {"$ref": f"#/components/responses/Refused{status}", "description": description}
    for status, description in _REFUSALS.items()
}
COMPAT_RESPONSES: Final[Answers] = {
    200: answer("The envelope, whatever happened; 1190001 while it is still running", ENVELOPE, examples.COMPAT),
    **{
        status: answer(_REFUSALS[status], ENVELOPE, {}, *_OF_REFUSALS.get(status, ()))
        for status in (400, 403, 408, 413, 431)
    },
}

_WAIT: Final = _header("Prefer", r"^wait=[0-9]{1,2}$")
KEY: Final = [
    _header("Idempotency-Key", r"^[\x21-\x7e]{1,255}$"),
    _query("strict", {"enum": ["0", "1"]}),
]
SUBMIT: Final[Schema] = {"requestBody": BATCH_BODY, "parameters": [_WAIT, *KEY]}
POLL: Final[Schema] = {
    "parameters": [
        _WAIT,
        _header("If-None-Match", r'^"[0-9a-f]{32}"$'),
        _query("lang", {"enum": ["en", "zh"]}),
    ]
}
_PAGE: Final = [
    _query("cursor", {"type": "string"}),
    _query("limit", {"type": "integer", "minimum": 1, "maximum": 500}),
]
LIST: Final[Schema] = {
    "parameters": [
        _query("status", enum_of(Status)),
        _query("bk_biz_id", {"type": "integer", "minimum": 0, "maximum": 10**18 - 1}),
        _query("bk_module_id", {"type": "integer", "minimum": 0, "maximum": 10**18 - 1}),
        _query("idempotency_key", {"type": "string", "pattern": r"^[\x21-\x7e]{1,255}$"}),
        *_PAGE,
    ]
}
ITEMS: Final[Schema] = {"parameters": [_query("outcome", enum_of(Outcome)), *_PAGE]}
PAGED: Final[Schema] = {"parameters": _PAGE}
