"""The judge of a chaos run can say no to a job."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from chaos.history import Stored, ToldJob, judge
from chaos.model import Batch, Instance

JOB = Batch((Instance(60, 1), Instance(60, 2)))
GOOD = Stored(Counter(JOB.rows()), {7: (60, 1, ""), 8: (60, 2, "")}, {"a": [7], "b": [8]}, {})
HALF = Stored(Counter(JOB.instances[0].rows()), {7: (60, 1, "")}, {"a": [7]}, {})


def _item(index: int, outcome: str, id_: int | None) -> Mapping[str, Any]:
    return {"index": index, "outcome": outcome, "service_instance_id": id_}


def _told(**changes: Any) -> ToldJob:
    items = [_item(0, "created", 7), _item(1, "created", 8)]
    outcomes = {"created": 2, "existing": 0, "healed": 0, "failed": 0, "skipped": 0}
    report = {"status": "SUCCESS", "code": 0, "accepted_count": 2, "outcomes": outcomes, "items": items, **changes}
    return ToldJob(JOB, 0.0, 1.0, [report])


def _half(**changes: Any) -> ToldJob:
    items = [_item(0, "created", 7), _item(1, "failed", None)]
    return _told(**{"status": "PART_FAILED", "outcomes": {"created": 1, "failed": 1}, "items": items, **changes})


def test_jobs_that_are_as_they_should_be() -> None:
    assert judge({}, GOOD, {"j": _told()}).wrong == ()
    assert judge({}, HALF, {"j": _half()}).wrong == ()


def test_job_that_never_ended_or_is_not_there_is_lost() -> None:
    assert judge({}, GOOD, {"j": _told(), "k": ToldJob(JOB, 0.0)}).lost == 1
    assert judge({}, HALF, {"j": _told()}).lost == 1


def test_instance_that_two_jobs_created_is_doubled() -> None:
    assert judge({}, GOOD, {"j": _told(), "k": _told()}).doubled == 2


@pytest.mark.parametrize(
    ("told", "stored"),
    [
        (_told(accepted_count=3), GOOD),
        (_told(outcomes={"created": 1}), GOOD),
        (_told(status="PART_FAILED"), GOOD),
        (_told(items=[_item(0, "created", 7)]), GOOD),
        (_told(items=[_item(0, "created", 8), _item(1, "created", 7)]), GOOD),
        (_half(), GOOD),
        (_told(), replace(GOOD, audits={})),
    ],
    ids=["count", "outcomes", "status", "too few", "another's ids", "a row nobody wanted", "no audit"],
)
def test_two_stories_are_wrong(told: ToldJob, stored: Stored) -> None:
    assert judge({}, stored, {"j": told}).wrong
