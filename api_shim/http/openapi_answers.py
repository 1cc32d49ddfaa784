"""What `/openapi.json` says of jobs, and of the pages of lists: exactly the keys that their answers have."""

from typing import Any, Final

from api_shim.http.openapi import ENVELOPE, REFUSED, SUBMIT
from api_shim.http.stream import NDJSON
from contract.answer.items import Outcome
from contract.answer.job import JobStatus
from contract.answer.report import Statistics, Status

_Schema = dict[str, Any]
_Answers = dict[int | str, dict[str, Any]]
_TEXT: Final[_Schema] = {"type": "string"}
_COUNT: Final[_Schema] = {"type": "integer", "minimum": 0}
_MOMENT: Final[_Schema] = {"type": "string", "format": "date-time"}


def _object(properties: _Schema, title: str = "") -> _Schema:
    named = {"title": title} if title else {}
    return {
        **named,
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _or_null(schema: _Schema) -> _Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _with_envelope(properties: _Schema, title: str) -> _Schema:
    return _object({**ENVELOPE["properties"], **properties}, title)


def _page(name: str, entry: _Schema) -> _Schema:
    return _with_envelope(
        {name: {"type": "array", "items": entry}, "next_cursor": _or_null(_TEXT)}, f"Page of {name.replace('_', ' ')}"
    )


STATISTICS: Final = _object(dict.fromkeys(Statistics.model_fields, _COUNT), "Statistics")
JOB: Final = _with_envelope(
    {
        "job_id": _TEXT,
        "status": {"enum": [status.value for status in JobStatus]},
        "bk_biz_id": _COUNT,
        "bk_module_id": _COUNT,
        "accepted_count": {**_COUNT, "description": "Instances accepted so far"},
        "batch_count": {**_COUNT, "description": "Batches accepted so far"},
        "statistics": STATISTICS,
        "outcomes": _object({outcome.value: _COUNT for outcome in Outcome}, "Outcomes"),
        "created_at": _MOMENT,
        "finished_at": _or_null(_MOMENT),
        "expires_at": _or_null(_MOMENT),
        "links": _object(dict.fromkeys(("self", "batches", "items"), _TEXT), "Links"),
    },
    "Job",
)
_BATCH_OF_JOB: Final = _object(
    {
        "request_id": _TEXT,
        "status": _or_null({"enum": [status.value for status in Status]}),
        "code": _or_null({"type": "integer"}),
        "statistics": _or_null(STATISTICS),
    }
)
ITEM: Final = _object(
    {
        "index": _COUNT,
        "bk_host_id": {**_COUNT, "description": "0 where nobody knows it any more"},
        "outcome": {"enum": [outcome.value for outcome in Outcome]},
        "service_instance_id": _or_null({"type": "integer"}),
        "processes": {"type": "array", "items": {"type": "object"}},
        "path": _TEXT,
        "code": {"type": "integer"},
        "message": _TEXT,
        "warnings": {"type": "array", "items": {"type": "object"}},
    },
    "Item",
)
_LISTED_BATCH: Final[_Schema] = {
    "type": "object",
    "required": [*ENVELOPE["properties"], "status", "statistics", "bk_biz_id", "bk_module_id"],
}


def _answers(status: int, description: str, schema: _Schema) -> _Answers:
    content = {"application/json": {"schema": schema}}
    return {status: {"description": description, "content": content}, **REFUSED}


_NOT_CHANGED: Final[_Answers] = {304: {"description": "Not changed"}}
_ITEMS_PAGE: Final = _answers(200, "A page of items", _page("items", ITEM))
BATCHES: Final = _answers(200, "A page of the caller's own requests", _page("batches", _LISTED_BATCH))
ITEMS: Final = _ITEMS_PAGE
JOBS: Final = _answers(200, "A page of the caller's own jobs", _page("jobs", JOB))
JOB_ACCEPTED: Final = _answers(202, "All of it is accepted; `Location` is the job's", JOB)
JOB_FOUND: Final[_Answers] = {**_answers(200, "How the job stands", JOB), **_NOT_CHANGED}
JOB_BATCHES: Final = _answers(200, "A page of the job's batches", _page("batches", _BATCH_OF_JOB))
JOB_ITEMS: Final[_Answers] = {
    **_ITEMS_PAGE,
    200: {
        "description": f"A page of items; with `Accept: {NDJSON}` all of them, one a line",
        "content": {**_ITEMS_PAGE[200]["content"], NDJSON: {"schema": _TEXT}},
    },
}


def _of_any_number(body: _Schema) -> _Schema:
    """The body of a batch without its limit of a hundred."""
    schema = body["content"]["application/json"]["schema"]
    instances = {name: value for name, value in schema["properties"]["instances"].items() if name != "maxItems"}
    unlimited = {**schema, "title": "Job", "properties": {**schema["properties"], "instances": instances}}
    lines = {**_TEXT, "description": "A line with all but the instances, then one line for each instance"}
    return {**body, "content": {"application/json": {"schema": unlimited}, NDJSON: {"schema": lines}}}


SUBMIT_JOB: Final[_Schema] = {
    "requestBody": _of_any_number(SUBMIT["requestBody"]),
    "parameters": SUBMIT["parameters"][1:],
}
SECURITY_SCHEMES: Final[_Schema] = {
    "bkapi": {
        "type": "apiKey",
        "in": "header",
        "name": "X-Bkapi-Authorization",
        "description": (
            'JSON: {"bk_app_code": "…", "bk_app_secret": "…", "bk_username": "…"}. The same three may stand in a JSON'
            " body instead. Wherever applications are configured, every call needs them."
        ),
    }
}
SECURITY: Final[list[dict[str, list[str]]]] = [{"bkapi": []}, {}]
