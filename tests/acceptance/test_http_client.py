"""The Python client against the whole system: a real worker makes the rows."""

import json
from typing import Any

import pytest

from api_shim.client import Client
from api_shim.client_calls import BatchFailed
from devstack import sample
from devstack.running import RunningStack


@pytest.fixture
def seed() -> dict[str, Any]:
    body: dict[str, Any] = json.loads(sample.REQUEST.read_bytes())
    return body


def test_client_waits_for_the_ids_and_the_old_call_gives_the_same(stack: RunningStack, seed: dict[str, Any]) -> None:
    with Client(stack.http) as client:
        report = client.submit(seed).result(timeout=60)
        assert (report["status"], report["statistics"]["success_count"], len(report["data"])) == ("SUCCESS", 1, 1)

        envelope = client.create_service_instance(seed)
        assert list(envelope) == ["result", "code", "message", "permission", "request_id", "data"]
        assert (envelope["result"], envelope["data"]) == (True, report["data"])


def test_client_raises_what_failed_and_can_try_it_again(stack: RunningStack, seed: dict[str, Any]) -> None:
    with Client(stack.http) as client:
        operation = client.submit(seed | {"bk_module_id": 999_999})
        with pytest.raises(BatchFailed) as failed:
            operation.result(timeout=60)
        assert (failed.value.code, failed.value.report["data"]) == (1101034, None)
        with pytest.raises(BatchFailed):
            operation.retry().result(timeout=60)


def test_dry_run_says_what_would_be_and_gives_no_ids(stack: RunningStack, seed: dict[str, Any]) -> None:
    with Client(stack.http) as client:
        report = client.validate(seed)
    assert (report["status"], report["data"], len(report["preview"])) == ("SUCCESS", None, 1)


def test_job_ends_with_every_batch(stack: RunningStack, seed: dict[str, Any]) -> None:
    with Client(stack.http) as client:
        [operation] = client.submit_many(seed)
        assert operation.result(timeout=60)["result"] is True
