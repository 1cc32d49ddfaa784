"""The judge of a chaos run can say no."""

import io
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from chaos.faults import Fault
from chaos.history import Stored, Told, judge
from chaos.model import Batch, Instance
from chaos.plot import draw
from chaos.verdict import LIMIT_S, Recovery, Run, Verdict, recoveries

BATCH = Batch((Instance(60, 1),))
GOOD = Stored(Counter(BATCH.rows()), {7: (60, 1, "")}, {"a": [7]}, {"a": "SUCCESS"})


def _report(**changes: Any) -> Mapping[str, Any]:
    counts = {"total_count": 1, "success_count": 1, "failed_count": 0, "pending_count": 0, "running_count": 0}
    item = {"index": 0, "outcome": "created", "service_instance_id": 7}
    return {"status": "SUCCESS", "code": 0, "data": [7], "statistics": counts, "items": [item], **changes}


def _told(*reports: Mapping[str, Any], accepted_at: float = 0.0, ended_at: float | None = None) -> Told:
    return Told(BATCH, accepted_at, ended_at, list(reports))


def test_what_is_as_it_should_be() -> None:
    judged = judge({"a": _told(_report())}, GOOD)
    assert (judged.accepted, judged.ended, judged.lost, judged.doubled, judged.wrong) == (1, {"SUCCESS": 1}, 0, 0, ())


def test_request_that_never_ended_is_lost() -> None:
    judged = judge({"a": _told(_report()), "b": _told()}, GOOD)
    assert (judged.lost, judged.wrong) == (1, ("b: never ended",))


def test_success_without_its_rows_is_lost() -> None:
    without = replace(GOOD, rows=Counter(row for row in GOOD.rows if len(row) < 5))
    assert judge({"a": _told(_report())}, without).lost == 1


def test_row_that_is_there_twice_is_doubled() -> None:
    assert judge({"a": _told(_report())}, replace(GOOD, rows=GOOD.rows + Counter([(60, 1, "")]))).doubled == 1


def test_instance_that_two_requests_created_is_doubled() -> None:
    stored = replace(GOOD, ledger={"a": "SUCCESS", "b": "SUCCESS"})
    assert judge({"a": _told(_report()), "b": _told(_report())}, stored).doubled == 1


@pytest.mark.parametrize(
    ("told", "stored"),
    [
        ({"a": _told(_report(), _report(code=1))}, GOOD),
        ({"a": _told(_report())}, replace(GOOD, ledger={})),
        ({"a": _told(_report())}, replace(GOOD, audits={})),
        ({"a": _told(_report())}, replace(GOOD, rows=GOOD.rows + Counter([(60, 2, "")]))),
        ({"a": _told(_report(data=[8]))}, GOOD),
    ],
    ids=["two ends", "no ledger", "no audit", "a row nobody wanted", "another id"],
)
def test_two_stories_are_wrong(told: Mapping[str, Told], stored: Stored) -> None:
    assert judge(told, stored).wrong


def test_recovery_lasts_until_the_last_request_that_was_open_has_ended() -> None:
    faults = [Fault("kill worker", "worker-1", at, at) for at in (1.0, 10.0, 99.0)]
    told = {
        "before": _told(ended_at=0.5),
        "open": _told(accepted_at=0.9, ended_at=5.0),
        "longer": _told(accepted_at=0.9, ended_at=11.5),
        "later": _told(accepted_at=12.0, ended_at=13.0),
    }
    assert [recovery.seconds for recovery in recoveries(faults, told)] == [10.5, 1.5, 0.0]


def test_recovery_leaves_out_the_time_that_a_server_was_away() -> None:
    faults = [
        Fault("kill worker", "worker-1", 1.0, 1.0),
        Fault("Redis is away", "redis", 2.0, 32.0),
        Fault("PostgreSQL is killed", "postgres", 30.0, 34.0),
        Fault("Redis is slow", "redis", 35.0, 36.0),
    ]
    told = {"open": _told(accepted_at=0.5, ended_at=40.0)}
    # 2 to 34 is one outage, of which what lies before a fault's own end is none of its recovery.
    assert [tuple(recovery) for recovery in recoveries(faults, told)] == [
        (7.0, 39.0),
        (6.0, 8.0),
        (6.0, 6.0),
        (4.0, 4.0),
    ]


def test_picture_of_nothing_and_of_something() -> None:
    run = Run("python -m chaos --seed 1", "today", 1, 0.0, 60.0, loses_power=True)
    judged = judge({"a": _told(_report())}, GOOD)
    fault = Fault("<odd> & new", "x", 1.0, 2.0)
    for faults in ((), (fault,)):
        verdict = Verdict(
            run,
            judged,
            (),
            0,
            {},
            {},
            {},
            {},
            faults,
            (Recovery(3.0, 3.0),) * len(faults),
            {"a": _told(_report(), ended_at=1.0)},
        )
        picture = draw(verdict.document(), LIMIT_S)
        assert picture.count("<title>") == len(faults)
        assert "<odd>" not in picture


def test_table_tells_the_numbers_of_the_document() -> None:
    run = Run("python -m chaos --seed 1", "today", 1, 0.0, 60.0, loses_power=True)
    faults = tuple(Fault("worker is killed", "x", at, at) for at in (1.0, 2.0, 3.0))
    took = (Recovery(3.0, 4.0), Recovery(5.0, 16.0), Recovery(7.0, 28.0))
    verdict = Verdict(run, judge({"a": _told(_report())}, GOOD), (), 0, {}, {}, {}, {}, faults, took, {})

    printed = io.StringIO()
    verdict.show(Console(file=printed, width=100))

    shown = printed.getvalue()
    assert "5.0 / 7.0 s" in shown
    assert "16.0 / 28.0 s" in shown
    assert verdict.document()["recovery_s"] == {"p50": 5.0, "p99": 7.0, "max": 7.0}
    assert verdict.document()["waited_s"] == {"p50": 16.0, "p99": 28.0, "max": 28.0}
