"""The published document, and the application held to it by generated requests."""

import copy
import json
from collections.abc import Iterator
from typing import Any

import httpx2
import jsonschema_rs
import pytest
import requests
import urllib3
from hypothesis import HealthCheck, given, settings

from api_shim.http.answers import status_of
from api_shim.http.app import create_app
from api_shim.http.openapi_examples import DOCUMENTED
from api_shim.http.stream import NDJSON
from contract.codes import Code
from contract.settings import Settings
from tests.integration.api_shim.http.door_client import Client


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


LABELS = [
    f"{method.upper()} {path}"
    for path, methods in DOCUMENT["paths"].items()
    for method in methods
    if path not in ("/readyz", "/metrics")
]


@pytest.fixture(scope="module")
def operations() -> dict[str, Any]:
    """By their labels. Only here is schemathesis loaded: every process of a run collects, and one runs this."""
    import schemathesis

    described = schemathesis.openapi.from_dict(_as_json_only(DOCUMENT)).exclude(path_regex="readyz|metrics")
    found = {operation.ok().label: operation.ok() for operation in described.get_all_operations()}
    assert found.keys() == set(LABELS)
    return found


@pytest.mark.parametrize("label", LABELS)
def test_generated_requests_are_answered_as_described(label: str, operations: dict[str, Any], shared: Client) -> None:
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi import checks as described

    checks = [
        not_a_server_error,
        described.content_type_conformance,
        described.response_schema_conformance,
        described.status_code_conformance,
    ]
    operation = operations[label]

    @settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
    @given(operation.as_strategy())
    def answered_as_described(case: Any) -> None:
        request = case.as_transport_kwargs(base_url="http://localhost")
        content = request.get("data") if request.get("json") is None else json.dumps(request["json"]).encode()
        sent = {name: str(value).encode() for name, value in request["headers"].items()}
        answer = shared.call(
            request["method"], request["url"], params=request.get("params"), headers=sent, content=content
        )
        assert undeclared(operation, answer) == set()
        # Schemathesis reads answers of `requests`; this one came through the transport in this process.
        case.validate_response(_as_requests(case, answer), checks=checks)

    answered_as_described()


def undeclared(operation: Any, answer: httpx2.Response) -> set[str]:
    """Headers that the description does not name, but for those that say how long the body is and of which type."""
    said = DOCUMENT["paths"][operation.path][operation.method]["responses"].get(str(answer.status_code), {})
    if "$ref" in said:
        said = DOCUMENT["components"]["responses"][said["$ref"].rpartition("/")[2]]
    return _undeclared(said, answer)


def _undeclared(said: dict[str, Any], answer: httpx2.Response) -> set[str]:
    known = {name.lower() for name in said.get("headers", {})} | {"content-length", "content-type"}
    return set(answer.headers) - known


def _as_requests(case: Any, answer: httpx2.Response) -> requests.Response:
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


def test_document_says_what_old_paths_take_and_what_prometheus_gets(shared: Client) -> None:
    old = DOCUMENT["paths"]["/api/v3/create/proc/service_instance"]["post"]["parameters"]
    assert [parameter["name"] for parameter in old] == ["Idempotency-Key", "strict"]
    media_type = shared.get("/metrics").headers["Content-Type"].partition(";")[0]
    assert set(DOCUMENT["paths"]["/metrics"]["get"]["responses"]["200"]["content"]) == {media_type}


def _valid(schema: dict[str, Any], value: Any) -> None:
    jsonschema_rs.validate({**schema, "components": DOCUMENT["components"]}, value)


def _operations() -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in DOCUMENT["paths"].items():
        for method, operation in methods.items():
            yield f"{method} {path}", operation


@pytest.mark.parametrize(
    ("label", "operation"), list(_operations()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_every_call_and_refusal_has_examples_that_its_schema_takes(label: str, operation: dict[str, Any]) -> None:
    if "/v1/" not in label and "/api/" not in label:
        return
    described = [operation.get("requestBody", {}), *operation["responses"].values()]
    described += [DOCUMENT["components"]["responses"][name] for name in DOCUMENT["components"]["responses"]]
    for part in described:
        for content in part.get("content", {}).values():
            for example in content.get("examples", {}).values():
                _valid(content["schema"], example["value"])
    assert any(
        content.get("examples")
        for status in operation["responses"]
        if status.startswith("2")
        for content in operation["responses"][status]["content"].values()
    )


def test_every_refusal_has_an_example_for_each_of_its_codes() -> None:
    refused = DOCUMENT["components"]["responses"]
    shown = [
        example["value"]["code"]
        for answer in refused.values()
        for example in answer["content"]["application/json"]["examples"].values()
    ]
    assert set(shown) == {code for code in Code if status_of(code) >= 400}
    assert all(answer["content"]["application/json"]["examples"] for answer in refused.values())


def test_documented_request_passes_the_published_schema_of_each_path(seed: dict[str, Any]) -> None:
    assert seed == DOCUMENTED
    bodies = [(label, operation["requestBody"]) for label, operation in _operations() if "requestBody" in operation]
    assert len(bodies) == 8
    for _, body in bodies:
        _valid(body["content"]["application/json"]["schema"], seed)


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
        _valid(described["content"]["application/json"]["schema"], answer.json())
    assert door.get(f"{job}/items").json()["items"]
    body = DOCUMENT["paths"]["/v1/jobs"]["post"]["requestBody"]["content"]
    assert "maxItems" not in body["application/json"]["schema"]["properties"]["instances"]
    assert NDJSON in body
    assert DOCUMENT["components"]["securitySchemes"]["bkapi"]["name"] == "X-Bkapi-Authorization"
    assert DOCUMENT["components"]["securitySchemes"]["basic"]["scheme"] == "basic"


def test_pages_are_described_as_they_are(door: Client) -> None:
    batch = {"bk_biz_id": 1, "bk_module_id": 60, "instances": [{"bk_host_id": 1}]}
    locations = {
        "/v1/batches/{request_id}": door.post("/v1/batches", batch).headers["Location"],
        "/v1/jobs/{job_id}": door.post("/v1/jobs", batch).headers["Location"],
    }
    browser = {"Accept": "text/html"}
    for path, location in locations.items():
        for method, suffix in (("get", ""), ("post", ":cancel"), ("post", ":cancel"), ("get", ""), ("post", ":retry")):
            answer = door.call(method.upper(), location + suffix, headers=browser)
            described = DOCUMENT["paths"][path + suffix][method]["responses"][str(answer.status_code)]
            assert _undeclared(described, answer) == set()
            assert answer.status_code == 303 or "text/html" in described["content"]
    for path in ("/v1/batches", "/v1/jobs"):
        described = DOCUMENT["paths"][path]["get"]["responses"]["200"]
        assert _undeclared(described, door.get(path, headers=browser)) == set()
        assert "text/html" in described["content"]
    refused = door.get("/v1/batches/none", headers=browser)
    assert _undeclared(DOCUMENT["components"]["responses"]["Refused404"], refused) == set()
