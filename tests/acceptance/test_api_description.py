"""Every request that the API description shows, through its schema and through the running system."""

import json
from collections.abc import Iterator

import httpx2
import jsonschema_rs
import pytest

from devstack.running import RunningStack


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """One of its own: the documented requests name the hosts that other tests have to find untouched."""
    with RunningStack.start(tmp_path_factory.mktemp("described")) as running:
        yield running


def test_every_documented_request_passes_its_schema_and_is_accepted(stack: RunningStack) -> None:
    document = httpx2.get(f"{stack.http}/openapi.json", timeout=60).json()
    sent = 0
    for path, methods in document["paths"].items():
        operation = methods.get("post", {})
        for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
            for name, example in content["examples"].items():
                value = example["value"]
                jsonschema_rs.validate({**content["schema"], "components": document["components"]}, value)
                body = value if isinstance(value, str) else json.dumps(value)
                answer = httpx2.post(
                    stack.http + path, content=body.encode(), headers={"Content-Type": media_type}, timeout=60
                )
                assert answer.status_code in (200, 202), (path, name, answer.text)
                said = operation["responses"][str(answer.status_code)]["content"]["application/json"]["schema"]
                jsonschema_rs.validate({**said, "components": document["components"]}, answer.json())
                if path.startswith("/api/"):
                    assert answer.json()["result"] is True, (path, name, answer.text)
                sent += 1
    assert sent == 5 * 2 + 2 * 3 + 3
