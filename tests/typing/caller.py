"""A service that calls the server: nothing here is run, mypy reads it (`make check`), and no expression may be `Any`.

What must be a mistake is marked with ``type: ignore``; an unused mark is a mistake itself.
"""

from collections.abc import AsyncIterator, Iterator
from typing import assert_type

from bksi_client import AsyncClient, AsyncOperation, BatchFailed, BksiError, Client, Job, Operation, StillRunning
from bksi_client.types import Batch, Envelope, Instance, Item, JobReport, Outcome, Report, Statistics, Status, Summary

BATCH: Batch = {
    "bk_biz_id": 1,
    "bk_module_id": 60,
    "mode": "partial",
    "instances": [
        {
            "bk_host_id": 2,
            "processes": [{"process_template_id": 1, "process_info": {"bind_info": [{"port": "80", "enable": True}]}}],
        }
    ],
}


def many(hosts: range) -> Iterator[Instance]:
    """Instances need no list."""
    for host in hosts:
        yield {"bk_host_id": host}


def blocking(client: Client) -> None:
    """Every call, and what it gives."""
    operation = client.submit(BATCH, "order-17")
    assert_type(operation, Operation)
    assert_type(operation.request_id, str)
    assert_type(operation.idempotency_key, str | None)
    report = operation.result(timeout=60)
    assert_type(report, Report)
    assert_type(report["data"], list[int] | None)
    assert_type(report["status"], Status)
    assert_type(report["statistics"], Statistics)
    assert_type(report["items"][0]["outcome"], Outcome)
    assert_type(operation.exception(), BksiError | None)
    assert_type(operation.progress(), Iterator[Report])
    assert_type(operation.retry(), Operation)
    assert_type(operation.cancel(), Report)
    assert_type(operation.items("failed"), Iterator[Item])
    operation.add_done_callback(lambda ended: print(ended.request_id))

    assert_type(client.submit_many({**BATCH, "instances": many(range(1000))}), Iterator[Operation])
    assert_type(client.batches.list(status="FAILED"), Iterator[Summary])
    assert_type(client.batches.find("order-17"), Operation | None)
    assert_type(client.operation("0" * 32).status(), Report)
    assert_type(client.validate(BATCH), Report)
    assert_type(client.create_service_instance(BATCH), Envelope)
    assert_type(client.request("GET", "/readyz").status_code, int)
    assert_type(client.with_options(timeout=3, retries=0, language="zh"), Client)

    job = client.jobs.submit(BATCH)
    assert_type(job, Job)
    assert_type(job.result(), JobReport)

    try:
        operation.result(timeout=1)
    except BatchFailed as failed:
        assert_type(failed.report, Report)
        assert_type(failed.code, int | None)
        assert_type(failed.message, str)
    except StillRunning as running:
        assert_type(running.retry_after, float | None)


async def awaiting(client: AsyncClient) -> None:
    """The same with ``await``."""
    operation = await client.submit(BATCH)
    assert_type(operation, AsyncOperation)
    assert_type(await operation, Report)
    assert_type(await operation.result(), Report)
    assert_type(await operation.exception(), BksiError | None)
    assert_type(client.submit_many(BATCH), AsyncIterator[AsyncOperation])
    async for report in operation.progress():
        assert_type(report, Report)
    async for summary in client.batches.list():
        assert_type(summary, Summary)


def mistakes(client: Client) -> None:
    """What a type checker has to find."""
    client.submit({"bk_biz_id": "1", "bk_module_id": 60, "instances": []})  # type: ignore[typeddict-item]
    client.submit({"bk_biz_id": 1, "instances": []})  # type: ignore[typeddict-item]
    client.submit({"bk_biz_id": 1, "bk_module_id": 60, "instances": [{"host": 2}]})  # type: ignore[typeddict-item]
    client.with_options(patience=3)  # type: ignore[call-arg]
    client.submit(BATCH).result()["ids"]  # type: ignore[typeddict-item]
    client.batches.list(status="DONE")  # type: ignore[arg-type]
