"""The model of benchmarks/capacity.py, and what docs/scale.md shows of it."""

import json
from pathlib import Path

from benchmarks.capacity import Demand, Machine, apart, draw, on_one_machine

ROOT = Path(__file__).parents[2]
KEPT = json.loads((ROOT / "benchmarks" / "results" / "2026-11-28-capacity.json").read_text())
DEMAND = Demand(submitter=0.25, worker=0.5, postgres=0.25, redis=0.125)
WHOLE = Machine(cores=4, process=1.0, all=1.0)


def test_rate_is_that_of_the_part_that_is_used_up_first() -> None:
    assert on_one_machine(DEMAND, WHOLE, workers=1, cells=1) == (2000, "workers")
    assert on_one_machine(DEMAND, WHOLE, workers=2, cells=2)[1] == "cores"
    assert apart(DEMAND, WHOLE, workers=64, cells=1, postgres_cores=8) == (8000, "Redis")
    assert apart(DEMAND, WHOLE, workers=64, cells=2, postgres_cores=1) == (8000, "PostgreSQL")


def test_every_point_that_was_measured_is_predicted_within_fifteen_percent() -> None:
    assert len(KEPT["points"]) == 6
    assert [row for row in KEPT["points"] if abs(row["off"]) > 0.15] == []


def test_picture_is_of_the_result_that_is_kept() -> None:
    assert (ROOT / "docs" / "pictures" / "capacity.svg").read_text() == draw(KEPT)
