"""What `/openapi.json` says beside the paths: bodies, parameters and answers.

The routes read their requests themselves, so that no framework's own 422 ever shows; hence this is written by hand.
"""

from typing import Any, Final

from pydantic import TypeAdapter

from contract.answer.items import Outcome
from contract.answer.report import Envelope, Status
from contract.request.batch import BatchBody

ENVELOPE: Final[dict[str, Any]] = Envelope.model_json_schema()
_REPORT: Final[dict[str, Any]] = {
    **ENVELOPE,
    "title": "Report",
    "properties": {
        **ENVELOPE["properties"],
        "status": {"enum": [status.value for status in Status]},
        "statistics": {"type": "object", "additionalProperties": {"type": "integer"}},
        "items": {"type": "array", "items": {"type": "object"}},
        "warnings": {"type": "array", "items": {"type": "object"}},
        "errors": {"type": "array", "items": {"type": "object"}},
    },
}
_ENVELOPE_REQUIRED: Final = ["result", "code", "message", "permission", "request_id", "data"]


def answer(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    """An answer that has at least the six keys."""
    required = {**schema, "required": _ENVELOPE_REQUIRED}
    return {"description": description, "content": {"application/json": {"schema": required}}}


def _query(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "schema": schema}


def _header(name: str, pattern: str) -> dict[str, Any]:
    return {"name": name, "in": "header", "required": False, "schema": {"type": "string", "pattern": pattern}}


REFUSED: Final[dict[int | str, dict[str, Any]]] = {
    status: answer(description, ENVELOPE)
    for status, description in {
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
    }.items()
}
_REPLIED: Final[dict[int | str, dict[str, Any]]] = {
    200: answer("The report", _REPORT),
    202: answer("Accepted", _REPORT),
}
RESPONSES: Final[dict[int | str, dict[str, Any]]] = {**_REPLIED, **REFUSED}
POLL_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {**RESPONSES, 304: {"description": "Not changed"}}
COMPAT_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    status: answer(description, ENVELOPE)
    for status, description in {
        200: "The envelope, whatever happened; 1190001 while it is still running",
        408: "Sent too slowly",
        413: "Too large",
        431: "Headers too large",
    }.items()
}

_WAIT: Final = _header("Prefer", r"^wait=[0-9]{1,2}$")
_BODY: Final[dict[str, Any]] = {
    "required": True,
    "content": {
        "application/json": {"schema": TypeAdapter(BatchBody).json_schema(ref_template="#/components/schemas/{model}")}
    },
}
SCHEMAS: Final[dict[str, Any]] = _BODY["content"]["application/json"]["schema"].pop("$defs")
SUBMIT: Final[dict[str, Any]] = {
    "requestBody": _BODY,
    "parameters": [
        _WAIT,
        _header("Idempotency-Key", r"^[\x21-\x7e]{1,255}$"),
        _query("strict", {"enum": ["0", "1"]}),
    ],
}
POLL: Final[dict[str, Any]] = {"parameters": [_WAIT]}
_PAGE: Final = [
    _query("cursor", {"type": "string"}),
    _query("limit", {"type": "integer", "minimum": 1, "maximum": 500}),
]
LIST: Final[dict[str, Any]] = {
    "parameters": [
        _query("status", {"enum": [status.value for status in Status]}),
        _query("bk_biz_id", {"type": "integer", "minimum": 0, "maximum": 10**18 - 1}),
        _query("bk_module_id", {"type": "integer", "minimum": 0, "maximum": 10**18 - 1}),
        _query("idempotency_key", {"type": "string", "pattern": r"^[\x21-\x7e]{1,255}$"}),
        *_PAGE,
    ]
}
ITEMS: Final[dict[str, Any]] = {
    "parameters": [_query("outcome", {"enum": [outcome.value for outcome in Outcome]}), *_PAGE]
}
PAGED: Final[dict[str, Any]] = {"parameters": _PAGE}
