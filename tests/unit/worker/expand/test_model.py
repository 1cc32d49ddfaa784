"""What `reconcile` adds to a past is what the plain model adds: any sequence of requests ends in the model's rows."""

import random
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from hypothesis import given

from contract.codes import Refused
from contract.request.batch import ServiceInstanceBatch
from contract.request.parse import parse
from tests.model import Key, Model
from tests.strategies import Asked, Tape, agreeing, body, catalogue, examples, overlapping, thousand
from worker.expand.expand import expand
from worker.expand.plan import Plan, PlannedInstance
from worker.expand.reconcile import ExistingInstance, ExistingProcess, reconcile


class Store:
    """Writes plans by `reconcile`, as the real store does."""

    def __init__(self) -> None:
        self.instances: dict[Key, tuple[ExistingInstance, int]] = {}
        self.ids = iter(range(1, 10**6))

    def apply(self, plan: Plan, on_existing: str, mode: str) -> list[str]:
        outcomes = dict.fromkeys(plan.refused, "failed")
        keys = {
            planned.index: Key(plan.bk_module_id, planned.bk_host_id, planned.instance_key)
            for planned in plan.instances
        }
        if on_existing == "fail":
            outcomes |= {index: "failed" for index, key in keys.items() if key in self.instances}
        if outcomes and mode == "atomic":
            outcomes = dict.fromkeys(keys, "skipped") | outcomes
            return [outcomes[index] for index in sorted(outcomes)]
        for planned in plan.instances:
            if planned.index in outcomes:
                continue
            if planned.duplicate_of is not None:
                outcomes[planned.index] = "existing"
                continue
            outcomes[planned.index] = self._write(keys[planned.index], planned, plan.service_template_id)
        return [outcomes[index] for index in sorted(outcomes)]

    def _write(self, key: Key, planned: PlannedInstance, template: int) -> str:
        known = self.instances.get(key)
        existing = known[0] if known else ExistingInstance(next(self.ids), planned.name)
        missing = reconcile(planned, existing)
        rows: dict[int, list[Any]] = {}
        for id_, _, row in missing.bind_rows:
            rows.setdefault(id_, []).append(row)
        processes = [
            ExistingProcess(
                process.bk_process_id,
                process.process_template_id,
                process.values,
                (*process.bind_info, *rows.get(process.bk_process_id, ())),
            )
            for process in existing.processes
        ] + [
            ExistingProcess(next(self.ids), process.process_template_id, process.values, process.bind_info)
            for process in missing.processes
        ]
        self.instances[key] = ExistingInstance(existing.service_instance_id, existing.name, tuple(processes)), template
        if known is None:
            return "created"
        return "existing" if missing.is_empty else "healed"

    def rows(self) -> set[tuple[Any, ...]]:
        found: set[tuple[Any, ...]] = set()
        for key, (instance, template) in self.instances.items():
            found.add((*key, instance.name, template))
            for process in instance.processes:
                name = process.values["bk_process_name"]
                found.add((*key, name, process.process_template_id, tuple(sorted(process.values.items()))))
                found |= {(*key, name, *row) for row in process.bind_info}
        return found


def planned(requests: list[Asked]) -> list[tuple[Plan, ServiceInstanceBatch]]:
    """The plans of what is not refused as a whole."""
    plans = []
    for number, (seen, asked) in enumerate(requests):
        batch = parse(asked).batch
        with suppress(Refused):
            plans.append((expand(seen, batch, f"r{number}"), batch))
    return plans


def any_requests(tape: Tape) -> list[Asked]:
    """Good ones and bad ones to one module."""
    seen = catalogue(tape)
    return [(seen, request) for request in tape.many(body, most=4, least=1)]


def ordered(requests: Callable[[Tape], list[Asked]]) -> Callable[[Tape], tuple[list[Asked], list[int]]]:
    """Requests, and their indexes twice in some order."""

    def make(tape: Tape) -> tuple[list[Asked], list[int]]:
        found = requests(tape)
        return found, tape.some([*range(len(found))] * 2, most=2 * len(found), least=2 * len(found))

    return make


@thousand
@given(examples(any_requests) | examples(overlapping(most=6)))
def test_any_requests_end_in_the_rows_of_the_model(requests):
    store, model = Store(), Model()
    for plan, batch in planned(requests):
        outcomes = store.apply(plan, batch.on_existing, batch.mode)
        assert outcomes == model.apply(plan, on_existing=batch.on_existing, mode=batch.mode)
        rows = store.rows()
        assert rows == model.rows()
        store.apply(plan, "reuse", batch.mode)
        model.apply(plan, mode=batch.mode)
        assert store.rows() == model.rows()
        if batch.on_existing == "reuse":
            assert store.rows() == rows


@thousand
@given(examples(ordered(overlapping(most=4))))
def test_requests_that_have_been_written_change_nothing_in_any_order(example):
    """Written twice: the first round can leave out a process that is another's double and a later one makes room for.

    Only its bind rows can then be added, to the process of that name, so a second round has nothing left to add.
    """
    requests, order = example
    model, plans = Model(), [plan for plan, _ in planned(requests)]
    for plan in [*plans, *plans]:
        model.apply(plan)
    rows = model.rows()
    for index in order:
        if index < len(plans):
            assert {"created", "healed"}.isdisjoint(model.apply(plans[index]))
    assert model.rows() == rows


@thousand
@given(examples(ordered(agreeing)))
def test_agreeing_requests_end_in_the_same_rows_in_any_order(example):
    requests, order = example
    plans, ends = planned(requests), []
    for indexes in (range(len(plans)), order, order[::-1]):
        model, store = Model(), Store()
        for plan, batch in (plans[index] for index in indexes if index < len(plans)):
            assert model.apply(plan, mode=batch.mode) == store.apply(plan, "reuse", batch.mode)
        assert store.rows() == model.rows()
        ends.append(model.rows())
    assert ends[0] == ends[1] == ends[2]


def test_overlapping_requests_meet_in_every_way():
    """Examples that never met a past would prove nothing about one."""
    chance, met = random.Random(1), Counter[str]()
    for _ in range(200):
        model = Model()
        outcomes = {
            outcome
            for plan, batch in planned(overlapping(most=4)(Tape(chance.randbytes(400))))
            for outcome in model.apply(plan, on_existing=batch.on_existing, mode=batch.mode)
        }
        met.update(outcomes)
    assert set(met) == {"created", "existing", "healed", "failed", "skipped"}
    assert min(met.values()) >= 20
