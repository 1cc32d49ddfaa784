"""The Python client that other services import, against a running system."""

import asyncio
import subprocess
import sys
import threading
import uuid
from typing import Any

import pytest

from bksi_client import AsyncClient, BatchFailed, Client, JobFailed, RequestRefused, StillRunning
from tests.acceptance.calls import SEED, SIX_KEYS, bound


def test_submit_then_result_gives_the_ids(stack: Any) -> None:
    with Client(stack.http) as client:
        operation = client.submit(bound(40))
        report = operation.result(timeout=30)

        assert operation.done()
        assert client.poll(operation.request_id)["data"] == report["data"]
        assert client.submit(bound(40), operation.idempotency_key).request_id == operation.request_id


def test_async_client_mirrors_the_blocking_one(stack: Any) -> None:
    async def main() -> None:
        async with AsyncClient(stack.http) as client:
            operation = await client.submit(bound(41))
            report = await operation.result(timeout=30)
            assert await operation.done()
            assert len(report["data"]) == 1
            assert (await client.validate(bound(41)))["items"][0]["outcome"] == "existing"
            assert (await client.create_service_instance(bound(41)))["data"] == report["data"]

    asyncio.run(main())


def test_request_is_found_by_its_key_and_by_what_it_is(stack: Any) -> None:
    key = uuid.uuid4().hex
    with Client(stack.http) as client:
        operation = client.submit(bound(46), key)
        operation.wait(timeout=30)

        found = client.batches.find(key)
        assert found is not None
        assert found.request_id == operation.request_id
        assert client.batches.find("nobody-has-sent-this") is None
        listed = [summary["request_id"] for summary in client.batches.list(status="SUCCESS", page_size=2)]
        assert operation.request_id in listed
        assert len(listed) > 2
        assert [item["bk_host_id"] for item in operation.items()] == [46]
        assert list(operation.items("failed")) == []


def test_operation_tells_its_progress_and_its_end(stack: Any) -> None:
    ended = threading.Event()
    with Client(stack.http) as client:
        operation = client.submit(bound(47))
        operation.add_done_callback(lambda one: ended.set() if one.done() else None)
        *_, last = operation.progress()
        assert last["status"] == "SUCCESS"
        assert ended.wait(30)


def test_job_is_one_id_for_instances_that_are_made_as_they_are_sent(stack: Any) -> None:
    key = uuid.uuid4().hex
    with Client(stack.http) as client:
        hosts = range(48, 198)
        batch = {"bk_biz_id": 1, "bk_module_id": 60, "instances": ({"bk_host_id": host} for host in hosts)}
        job = client.jobs.submit(batch, key)
        report = job.result(timeout=60)

        assert (report["status"], report["statistics"]["success_count"]) == ("SUCCESS", 150)
        assert [item["bk_host_id"] for item in job.items()] == list(hosts)
        assert len(list(job.batches())) == 2
        assert client.jobs.submit(batch | {"instances": [{"bk_host_id": host} for host in hosts]}, key).id == job.id
        assert job.id in [listed["job_id"] for listed in client.jobs.list()]

        failed = client.jobs.submit(bound(2, module=999))
        with pytest.raises(JobFailed) as failure:
            failed.result(timeout=60)
        assert (failure.value.code, failure.value.request_id) == (1101034, failed.id)
        assert failed.retry().id != failed.id


def test_awaiting_client_sends_a_job_as_it_is_made(stack: Any) -> None:
    async def main() -> None:
        async with AsyncClient(stack.http) as client:
            batch = {"bk_biz_id": 1, "bk_module_id": 60, "instances": ({"bk_host_id": host} for host in range(48, 198))}
            job = await client.jobs.submit(batch)
            assert (await job)["statistics"]["success_count"] == 150

    asyncio.run(main())


def test_failures_are_three_errors(stack: Any) -> None:
    with Client(stack.http) as client:
        with pytest.raises(BatchFailed) as failed:
            client.submit(bound(2, module=999), "mine-999").result(timeout=30)
        with pytest.raises(RequestRefused) as refused:
            client.submit(bound(0))
        key = uuid.uuid4().hex
        client.submit(bound(42), key)
        with pytest.raises(RequestRefused) as conflict:
            client.submit(bound(43), key)

    assert (failed.value.report["code"], failed.value.idempotency_key) == (1101034, "mine-999")
    assert (refused.value.status_code, refused.value.envelope["code"]) == (400, 1199006)
    assert (conflict.value.status_code, conflict.value.idempotency_key) == (422, key)
    assert issubclass(StillRunning, TimeoutError)


def test_drop_in_call_answers_the_old_envelope(stack: Any) -> None:
    with Client(stack.http) as client:
        envelope = client.create_service_instance(SEED)

    assert list(envelope) == SIX_KEYS
    assert envelope["result"] is True


def test_client_loads_no_server_library() -> None:
    servers = ("celery", "kombu", "redis", "sqlalchemy", "fastapi", "asyncpg", "structlog")
    code = f"import sys; from bksi_client import *; print([name for name in {servers} if name in sys.modules])"

    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert loaded.strip() == "[]"
