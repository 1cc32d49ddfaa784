"""The published document, and the application held to it by generated requests."""

import copy
import json
from collections.abc import Iterator
from typing import Any

import httpx2
import jsonschema_rs
import pytest
import requests
import schemathesis
import urllib3
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from api_shim.http.app import create_app
from api_shim.http.stream import NDJSON
from contract.settings import Settings
from tests.integration.api_shim.http.door_client import Client

CHECKS = [not_a_server_error, content_type_conformance, response_schema_conformance, status_code_conformance]


@pytest.fixture(scope="module")
def shared(redis_url: str) -> Iterator[Client]:
    client = Client(Settings(redis_url=redis_url, compat_wait_s=0, max_wait_s=0))
    yield client
    client.close()


# Without a worker, readiness is rightly 503. Each operation is a test of its own by way of `parametrize`, because
# schemathesis' own pytest integration does not know pytest 9.
DOCUMENT = create_app(Settings()).openapi()


def _as_json_only(document: dict[str, Any]) -> dict[str, Any]:
    """Schemathesis has no way to write NDJSON."""
    document = copy.deepcopy(document)
    del document["paths"]["/v1/jobs"]["post"]["requestBody"]["content"][NDJSON]
    return document


DESCRIBED = schemathesis.openapi.from_dict(_as_json_only(DOCUMENT)).exclude(path_regex="readyz|metrics")
OPERATIONS = [operation.ok() for operation in DESCRIBED.get_all_operations()]


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.label)
def test_generated_requests_are_answered_as_described(operation: "schemathesis.APIOperation", shared: Client) -> None:
    @settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
    @given(operation.as_strategy())
    def answered_as_described(case: "schemathesis.Case") -> None:
        request = case.as_transport_kwargs(base_url="http://localhost")
        content = request.get("data") if request.get("json") is None else json.dumps(request["json"]).encode()
        sent = {name: str(value).encode() for name, value in request["headers"].items()}
        answer = shared.call(
            request["method"], request["url"], params=request.get("params"), headers=sent, content=content
        )
        # Schemathesis reads answers of `requests`; this one came through the transport in this process.
        case.validate_response(_as_requests(case, answer), checks=CHECKS)

    answered_as_described()


def _as_requests(case: "schemathesis.Case", answer: httpx2.Response) -> requests.Response:
    response = requests.Response()
    response.status_code, response._content = answer.status_code, answer.content
    response.headers.update(answer.headers)
    response.url = str(answer.url)
    response.request = requests.Request(case.method, response.url).prepare()
    response.raw = urllib3.HTTPResponse(body=answer.content, headers=dict(answer.headers), status=answer.status_code)
    return response


def test_document_names_every_path_and_no_422_of_the_framework(shared: Client) -> None:
    document = shared.get("/openapi.json").json()
    assert {"/v1/batches", "/v1/batches:validate", "/v1/batches/{request_id}", "/readyz"} <= set(document["paths"])
    assert "HTTPValidationError" not in json.dumps(document["paths"]["/v1/batches"])


def test_jobs_and_pages_are_described_as_they_are(door: Client) -> None:
    instances = [{"bk_host_id": host} for host in range(1, 152)]
    accepted = door.post("/v1/jobs", {"bk_biz_id": 1, "bk_module_id": 60, "instances": instances})
    job = accepted.headers["Location"]
    door.post("/v1/batches", {"bk_biz_id": 1, "bk_module_id": 60, "instances": instances[:1]})
    cancelled = door.post(f"{job}:cancel", b"")
    for path, method, answer in [
        ("/v1/jobs", "post", accepted),
        ("/v1/jobs", "get", door.get("/v1/jobs")),
        ("/v1/jobs/{job_id}", "get", door.get(job)),
        ("/v1/jobs/{job_id}/batches", "get", door.get(f"{job}/batches")),
        ("/v1/jobs/{job_id}/items", "get", door.get(f"{job}/items")),
        ("/v1/jobs/{job_id}:cancel", "post", cancelled),
        ("/v1/batches", "get", door.get("/v1/batches")),
    ]:
        described = DOCUMENT["paths"][path][method]["responses"][str(answer.status_code)]
        jsonschema_rs.validate(described["content"]["application/json"]["schema"], answer.json())
    assert door.get(f"{job}/items").json()["items"]
    body = DOCUMENT["paths"]["/v1/jobs"]["post"]["requestBody"]["content"]
    assert "maxItems" not in body["application/json"]["schema"]["properties"]["instances"]
    assert NDJSON in body
    assert DOCUMENT["components"]["securitySchemes"]["bkapi"]["name"] == "X-Bkapi-Authorization"
