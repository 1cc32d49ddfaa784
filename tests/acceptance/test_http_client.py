"""What only a real worker can end: retries, dry runs, jobs, through HTTP and the Python client."""

import time
from datetime import datetime, timedelta
from typing import Any

import httpx2
import pytest

from bksi_client import BatchFailed, Client
from tests.acceptance.calls import SEED, bound


def test_failed_request_can_be_tried_again_as_a_new_one(stack: Any) -> None:
    with Client(stack.http) as client:
        operation = client.submit(bound(2, module=999))
        with pytest.raises(BatchFailed):
            operation.result(timeout=60)
        again = operation.retry()
        assert again.request_id != operation.request_id
        with pytest.raises(BatchFailed) as failed:
            again.result(timeout=60)
    assert (failed.value.report["code"], failed.value.report["data"]) == (1101034, None)


def test_dry_run_says_what_would_be_and_gives_no_ids(stack: Any) -> None:
    with Client(stack.http) as client:
        report = client.validate(SEED)
    assert (report["status"], report["data"], len(report["preview"])) == ("SUCCESS", None, 1)


def test_job_adds_its_batches_up(stack: Any) -> None:
    with httpx2.Client(base_url=stack.http, timeout=60) as http:
        location = http.post("/v1/jobs", json=bound(44)).headers["Location"]
        deadline = time.monotonic() + 60
        while not (job := http.get(location, headers={"Prefer": "wait=5"}).json())["finished_at"]:
            assert time.monotonic() < deadline
        batches = http.get(job["links"]["batches"]).json()["batches"]
    assert (job["result"], job["status"], sum(job["outcomes"].values())) == (True, "SUCCESS", 1)
    assert [batch["status"] for batch in batches] == ["SUCCESS"]


def test_report_says_until_when_it_can_be_polled(stack: Any) -> None:
    with Client(stack.http) as client:
        reports = [
            client.submit(bound(44)).wait(60),
            client.submit(bound(2, module=999)).wait(60),
            client.validate(SEED),
        ]
    kept = [
        datetime.fromisoformat(report["expires_at"]) - datetime.fromisoformat(report["finished_at"])
        for report in reports
    ]
    # A dry run is in Redis alone.
    assert kept == [timedelta(days=30), timedelta(days=30), timedelta(days=1)]
