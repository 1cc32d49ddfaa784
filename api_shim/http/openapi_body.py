"""The bodies that `/openapi.json` describes: what is taken, which is more than what has an effect.

`contract` has the types of what was understood. Before that, unknown keys are ignored with a warning, credentials may
stand in the body, and properties of a process beside its ``process_info``.
"""

from typing import Any, Final

from pydantic import TypeAdapter

from api_shim.http.field_texts import REQUEST_FIELDS
from api_shim.http.openapi_examples import COMPAT_REQUESTS, JOB_LINES, JOB_REQUESTS, REQUESTS
from api_shim.http.stream import NDJSON
from contract.credentials import APP_CODE, APP_SECRET, TOKENS, USERNAME
from contract.request.batch import BatchBody

_Schema = dict[str, Any]
_CREDENTIALS: Final = (APP_CODE[0], APP_SECRET[0], USERNAME[0], TOKENS[0])


def _lenient(schema: Any) -> Any:
    """`schema` where other keys may stand, each known one with its description."""
    if isinstance(schema, list):
        return [_lenient(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    lenient = {name: _lenient(part) for name, part in schema.items() if name != "additionalProperties"}
    if isinstance(properties := lenient.get("properties"), dict):
        lenient["properties"] = {name: {**part, "description": _said(name)} for name, part in properties.items()}
    return lenient


def _said(name: str) -> str:
    return REQUEST_FIELDS[name][0]


_TAKEN: Final[_Schema] = _lenient(TypeAdapter(BatchBody).json_schema(ref_template="#/components/schemas/{model}"))
SCHEMAS: Final[dict[str, _Schema]] = _TAKEN.pop("$defs")
SCHEMAS["Process"]["properties"] |= SCHEMAS["ProcessInfo"]["properties"]
BATCH: Final[_Schema] = {
    **_TAKEN,
    "title": "Batch",
    "properties": {
        **_TAKEN["properties"],
        "client_request_id": {
            "type": "string",
            "pattern": r"^[\x21-\x7e]{1,255}$",
            "description": _said("client_request_id"),
        },
        **{name: {"type": "string", "writeOnly": True, "description": _said(name)} for name in _CREDENTIALS},
    },
}
_INSTANCES: Final[_Schema] = {
    name: value for name, value in BATCH["properties"]["instances"].items() if name != "maxItems"
}
JOB: Final[_Schema] = {**BATCH, "title": "Job", "properties": {**BATCH["properties"], "instances": _INSTANCES}}
_LINES: Final[_Schema] = {
    "type": "string",
    "description": "A line with all but the instances, then one line for each instance",
}


def _body(schema: _Schema, examples: _Schema, more: _Schema | None = None) -> _Schema:
    return {"required": True, "content": {"application/json": {"schema": schema, "examples": examples}, **(more or {})}}


BATCH_BODY: Final = _body(BATCH, REQUESTS)
COMPAT_BODY: Final = _body(BATCH, COMPAT_REQUESTS)
JOB_BODY: Final = _body(JOB, JOB_REQUESTS, {NDJSON: {"schema": _LINES, "examples": JOB_LINES}})
