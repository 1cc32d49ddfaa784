"""What `/openapi.json` says of reports, jobs and the pages of lists: exactly the keys that their answers have."""

from typing import Final

from api_shim.http import openapi_examples as examples
from api_shim.http.field_texts import ANSWER_FIELDS, REQUEST_FIELDS
from api_shim.http.openapi import (
    COMMON,
    ENVELOPE,
    ERRORS,
    KEY,
    REFUSED,
    Answers,
    Schema,
    answer,
    enum_of,
    headers,
    with_page,
)
from api_shim.http.openapi_body import JOB_BODY
from api_shim.http.stream import NDJSON
from contract.answer.job import JobStatus
from contract.answer.status import DeliveryStatus, Outcome, Statistics, Status

_TEXT: Final[Schema] = {"type": "string"}
_COUNT: Final[Schema] = {"type": "integer", "minimum": 0}
_MOMENT: Final[Schema] = {"type": "string", "format": "date-time"}


def _object(properties: Schema, title: str = "", optional: Schema | None = None) -> Schema:
    named = {"title": title} if title else {}
    return {
        **named,
        "type": "object",
        "properties": {name: _described(name, part) for name, part in (properties | (optional or {})).items()},
        "required": list(properties),
        "additionalProperties": False,
    }


def _described(name: str, schema: Schema) -> Schema:
    said = ANSWER_FIELDS.get(name) or REQUEST_FIELDS.get(name)
    return {**schema, "description": said[0]} if said and "description" not in schema else schema


def _or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _with_envelope(properties: Schema, title: str, optional: Schema | None = None) -> Schema:
    return _object({**ENVELOPE["properties"], **properties}, title, optional)


def _page(name: str, entry: Schema) -> Schema:
    return _with_envelope(
        {name: {"type": "array", "items": entry}, "next_cursor": _or_null(_TEXT)}, f"Page of {name.replace('_', ' ')}"
    )


STATISTICS: Final = _object(dict.fromkeys(Statistics.__annotations__, _COUNT), "Statistics")
JOB: Final = _with_envelope(
    {
        "job_id": _TEXT,
        "status": enum_of(JobStatus),
        "bk_biz_id": _COUNT,
        "bk_module_id": _COUNT,
        "accepted_count": _COUNT,
        "batch_count": _COUNT,
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
        "status": _or_null(enum_of(Status)),
        "code": _or_null({"type": "integer"}),
        "statistics": _or_null(STATISTICS),
    },
    "Batch of a job",
)
_WARNINGS: Final = {"type": "array", "items": _object(dict.fromkeys(("path", "reason", "message"), _TEXT), "Warning")}
_PROCESS: Final = _object(
    {
        "bk_process_id": _or_null({"type": "integer"}),
        "process_template_id": _COUNT,
        "bk_process_name": _or_null(_TEXT),
        "outcome": enum_of(Outcome),
    },
    "Process of an item",
    {"cmdb_id": _or_null({"type": "integer"})},
)
ITEM: Final = _object(
    {
        "index": _COUNT,
        "bk_host_id": {**_COUNT, "description": "0 where nobody knows it any more"},
        "outcome": enum_of(Outcome),
        "service_instance_id": _or_null({"type": "integer"}),
        "processes": {"type": "array", "items": _PROCESS},
        "path": _TEXT,
        "code": {"type": "integer"},
        "message": _TEXT,
        "warnings": _WARNINGS,
    },
    "Item",
    {"cmdb_id": _or_null({"type": "integer"})},
)
_STANDING: Final[Schema] = {"status": enum_of(Status), "statistics": STATISTICS}
_TIMES: Final[Schema] = {
    "created_at": _MOMENT,
    "finished_at": _or_null(_MOMENT),
    "expires_at": _or_null(_MOMENT),
    "attempts": _COUNT,
}
_PER_INSTANCE: Final[Schema] = {
    "items": {"type": "array", "items": ITEM},
    "warnings": _WARNINGS,
    "errors": ERRORS,
}
REPORT: Final = _with_envelope(
    {**_STANDING, **_PER_INSTANCE, **_TIMES},
    "Report",
    {
        "job_id": _TEXT,
        "delivery": enum_of(DeliveryStatus),
        "delivery_error": _or_null(ERRORS["items"]),
        "preview": {"type": "array", "items": {"type": "object"}},
        "success_created": {"type": "object", "additionalProperties": {"type": "integer"}},
        "error_msg": {"type": "object", "additionalProperties": _TEXT},
    },
)
_LISTED_BATCH: Final = _with_envelope(
    {**_STANDING, **_TIMES, "bk_biz_id": _COUNT, "bk_module_id": _COUNT}, "Batch of a list", {"job_id": _TEXT}
)


_ACCEPTED: Final = ("Location", "Retry-After", "Idempotent-Replayed")
_POLLED: Final = ("ETag", "Retry-After", "Preference-Applied")
_NOT_CHANGED: Final[Answers] = {304: {"description": "Not changed", "headers": headers(*COMMON, *_POLLED)}}


_SHOWN: Final = "The page of it, which refreshes itself until the end"
_BACK: Final[Answers] = {
    303: {"description": "To a browser's form: look at `Location`", "headers": headers(*COMMON, "Location")}
}


def _polled(schema: Schema, shown: Schema, description: str) -> Answers:
    found = answer(description, schema, shown, *_POLLED)
    return {200: with_page(found, _SHOWN), **REFUSED, **_NOT_CHANGED}


def _answers(status: int, description: str, schema: Schema, shown: Schema, *more: str) -> Answers:
    return {status: answer(description, schema, shown, *more), **REFUSED}


def _list(description: str, schema: Schema, shown: Schema) -> Answers:
    return {200: with_page(answer(description, schema, shown), "The same to look at"), **REFUSED}


_ENDED: Final = {**examples.SUCCEEDED, **examples.FAILED}
_REPLIED: Final = _answers(202, "Accepted", REPORT, examples.ACCEPTED, *_ACCEPTED)
SUBMITTED: Final[Answers] = {
    200: answer("It has ended: the report", REPORT, _ENDED, "Location", "Idempotent-Replayed", "Preference-Applied"),
    **_REPLIED,
}
FOUND: Final = _polled(REPORT, {**examples.ACCEPTED, **_ENDED}, "How the request stands")
CANCELLED: Final[Answers] = {**_answers(200, "Cancelled", REPORT, examples.CANCELLED), **_BACK}
RETRIED: Final[Answers] = {**_REPLIED, **_BACK}
_JOB_SHOWN: Final[Schema] = {"running": {"summary": "Half of it is there", "value": examples.JOB}}
BATCHES: Final = _list(
    "A page of the caller's own requests", _page("batches", _LISTED_BATCH), examples.page("batches", examples.BATCHES)
)
ITEMS: Final = _answers(200, "A page of items", _page("items", ITEM), examples.page("items", examples.ITEMS[0]))
JOBS: Final = _list("A page of the caller's own jobs", _page("jobs", JOB), examples.page("jobs", examples.JOB))
JOB_ACCEPTED: Final = _answers(202, "All of it is accepted; `Location` is the job's", JOB, _JOB_SHOWN, *_ACCEPTED)
JOB_CANCELLED: Final[Answers] = {**_answers(200, "How the job stands", JOB, _JOB_SHOWN), **_BACK}
JOB_RETRIED: Final[Answers] = {**JOB_ACCEPTED, **_BACK}
JOB_FOUND: Final = _polled(JOB, _JOB_SHOWN, "How the job stands")
JOB_BATCHES: Final = _answers(
    200,
    "A page of the job's batches",
    _page("batches", _BATCH_OF_JOB),
    examples.page("batches", examples.JOB_BATCH),
)
JOB_ITEMS: Final[Answers] = {
    **ITEMS,
    200: {
        "description": f"A page of items; with `Accept: {NDJSON}` all of them, one a line",
        "headers": {**ITEMS[200]["headers"], **headers("Content-Disposition")},
        "content": {**ITEMS[200]["content"], NDJSON: {"schema": _TEXT}},
    },
}
SUBMIT_JOB: Final[Schema] = {"requestBody": JOB_BODY, "parameters": KEY}
SECURITY_SCHEMES: Final[Schema] = {
    "bkapi": {
        "type": "apiKey",
        "in": "header",
        "name": "X-Bkapi-Authorization",
        "description": (
            'JSON: {"bk_app_code": "…", "bk_app_secret": "…", "bk_username": "…"}. The same three may stand in a JSON'
            " body instead. Wherever applications are configured, every call needs them."
        ),
    },
    "basic": {
        "type": "http",
        "scheme": "basic",
        "description": (
            "`bk_app_code` and `bk_app_secret` as name and password, for browsers and `curl -u`. Pages of other sites"
            " may not use a browser's login: whatever changes something is refused to them."
        ),
    },
}
SECURITY: Final[list[dict[str, list[str]]]] = [{"bkapi": []}, {"basic": []}, {}]
