"""What is counted of a request that ends."""

from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from contract.answer.report import Report
from contract.answer.status import Outcome, failed_item
from contract.codes import Code, Refused
from worker import metrics

NOW = datetime(2026, 1, 1, tzinfo=UTC)
Counted = Callable[..., float]


@pytest.fixture
def counted() -> Counted:
    """``counted("bksi_rows_written_total", label="…")`` → by how much it has grown in this test."""
    before = {(sample.name, _key(sample.labels)): sample.value for sample in _samples()}

    def counted(name: str, **labels: str) -> float:
        value = metrics.REGISTRY.get_sample_value(name, labels) or 0.0
        return value - before.get((name, _key(labels)), 0.0)

    return counted


def _samples() -> list[Any]:
    return [sample for metric in metrics.REGISTRY.collect() for sample in metric.samples]


def _key(labels: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(labels.items()))


def ended(items: list[Any], **about: Any) -> None:
    known = {"request_id": "0" * 32, "bk_biz_id": 1, "bk_module_id": 1, "created_at": NOW, "finished_at": NOW}
    report = Report.settled(items, **known, **about)  # type: ignore[arg-type]
    metrics.request_ended(report, Counter(item["outcome"] for item in report.items), 3.0, 1.0)


def item(index: int, outcome: Outcome) -> dict[str, Any]:
    return {"index": index, "bk_host_id": index + 1, "outcome": outcome, "service_instance_id": index + 1}


def test_request_counts_once_and_its_instances_by_outcome(counted: Counted) -> None:
    ended([item(0, Outcome.CREATED), item(1, Outcome.CREATED), item(2, Outcome.EXISTING)], bk_app_code="cmdb-tool")

    assert counted("bksi_requests_ended_total", app="cmdb-tool", status="SUCCESS", code="0") == 1
    assert counted("bksi_instances_ended_total", outcome="created", code="0") == 2
    assert counted("bksi_instances_ended_total", outcome="existing", code="0") == 1


def test_failed_instances_count_by_their_code(counted: Counted) -> None:
    refused = [failed_item(1, 2, Refused(Code.INSTANCE_EXISTS)), failed_item(2, 3, Refused(Code.PARAM_INVALID))]
    ended([item(0, Outcome.CREATED), *refused])

    for code in (Code.INSTANCE_EXISTS, Code.PARAM_INVALID):
        assert counted("bksi_instances_ended_total", outcome="failed", code=str(int(code))) == 1


@pytest.mark.parametrize(("instances", "lane"), [(10, "small"), (11, "large")])
def test_times_are_of_the_lane(counted: Counted, instances: int, lane: str) -> None:
    ended([item(index, Outcome.CREATED) for index in range(instances)])

    assert counted("bksi_request_seconds_sum", lane=lane) == pytest.approx(3)
    assert counted("bksi_request_run_seconds_sum", lane=lane) == pytest.approx(1)
    assert counted("bksi_request_wait_seconds_sum", lane=lane) == pytest.approx(2)


def test_names_of_applications_are_bounded() -> None:
    for number in range(200):
        ended([item(0, Outcome.CREATED)], bk_app_code=f"app-{number}")
    apps = {sample.labels["app"] for sample in _samples() if sample.name == "bksi_requests_ended_total"}
    assert "other" in apps
    assert len(apps) == 51
