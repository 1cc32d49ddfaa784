"""What holds for every catalogue and every request."""

from typing import Any

from hypothesis import assume, event, given
from hypothesis import strategies as st

from contract.batch import PROCESS_PROPERTIES, ServiceInstanceBatch
from contract.codes import Refused
from contract.parse import BatchRefused, parse
from tests.model import Key, Model
from tests.strategies import AGREEING, OVERLAPPING, UNBOUND, bodies, catalogues
from worker.expand.addresses import canonical_ip
from worker.expand.catalogue import CatalogueSlice
from worker.expand.expand import expand
from worker.expand.plan import Plan, PlannedInstance
from worker.expand.ports import port_range
from worker.expand.reconcile import ExistingInstance, ExistingProcess, reconcile


def parsed(body: dict[str, Any]) -> ServiceInstanceBatch:
    try:
        return parse(body).batch
    except BatchRefused:
        assume(False)
        raise


def expanded(catalogue: CatalogueSlice, body: dict[str, Any]) -> Plan:
    try:
        return expand(catalogue, parsed(body), "r")
    except Refused:
        assume(False)
        raise


def as_existing(planned: PlannedInstance) -> ExistingInstance:
    processes = (
        ExistingProcess(id_, process.process_template_id, dict(process.values), process.bind_info)
        for id_, process in enumerate(planned.processes, start=100)
    )
    return ExistingInstance(1, planned.name, tuple(processes))


@given(catalogues(), bodies())
def test_expansion_is_deterministic(catalogue, body):
    def answer() -> object:
        try:
            plan = expand(catalogue, parsed(body), "r")
        except Refused as problem:
            return problem.code, problem.message_args, problem.path
        refused = [(index, problem.code, problem.message_args, problem.path) for index, problem in plan.refused.items()]
        return plan.instances, refused, plan.warnings

    assert answer() == answer()


@given(catalogues(), bodies())
def test_every_instance_is_planned_or_refused(catalogue, body):
    plan = expanded(catalogue, body)
    planned = [instance.index for instance in plan.instances]
    assert planned == sorted(planned)
    assert list(plan.refused) == sorted(plan.refused)
    assert sorted([*planned, *plan.refused]) == list(range(len(body["instances"])))
    for index, problem in plan.refused.items():
        assert problem.path.startswith((f"instances[{index}]", "bk_"))
        assert problem.message()


@given(catalogues(), bodies())
def test_natural_keys_are_unique_within_a_plan(catalogue, body):
    plan = expanded(catalogue, body)
    own = [planned for planned in plan.instances if planned.duplicate_of is None]
    assert len({(planned.bk_host_id, planned.instance_key) for planned in own}) == len(own)
    for planned in plan.instances:
        names = [process.bk_process_name for process in planned.processes]
        templates = [process.process_template_id for process in planned.processes if process.process_template_id]
        functions = [
            (process.values["bk_func_name"], process.values["bk_start_param_regex"])
            for process in planned.processes
            if process.values["bk_start_param_regex"] is not None
        ]
        for keys in (names, templates, functions):
            assert len(set(keys)) == len(keys)
        for process in planned.processes:
            row_ids = [row.template_row_id for row in process.bind_info]
            assert len(set(row_ids)) == len(row_ids)


@given(catalogues(), bodies())
def test_what_is_planned_can_be_stored(catalogue, body):
    for planned in expanded(catalogue, body).instances:
        assert planned.name
        for process in planned.processes:
            assert list(process.values) == list(PROCESS_PROPERTIES)
            assert process.values["bk_process_name"]
            assert process.values["bk_func_name"]
            for name, rule in PROCESS_PROPERTIES.items():
                value = process.values[name]
                if rule.type == "text":
                    assert value is None or len(value.encode()) <= rule.max_bytes
                elif rule.type == "int":
                    assert value is None or rule.minimum <= value <= rule.maximum
            for row in process.bind_info:
                assert 0 < row.template_row_id < 2**63
                assert port_range(row.port)
                assert row.protocol in ("1", "2", "3", "4")
                assert row.ip == "" or canonical_ip(row.ip) == (row.ip, 4 if row.protocol in "12" else 6)


@given(catalogues(), bodies())
def test_duplicates_refer_to_an_equal_earlier_instance(catalogue, body):
    plan = expanded(catalogue, body)
    by_index = {planned.index: planned for planned in plan.instances}
    for planned in plan.instances:
        if planned.duplicate_of is not None:
            first = by_index[planned.duplicate_of]
            assert first.index < planned.index
            assert first.duplicate_of is None
            assert (first.bk_host_id, first.instance_key, first.name) == (
                planned.bk_host_id,
                planned.instance_key,
                planned.name,
            )
            assert first.processes == planned.processes


@given(catalogues(), bodies())
def test_the_order_of_instances_decides_nothing(catalogue, body):
    plan = expanded(catalogue, body)
    last = len(body["instances"]) - 1
    mirrored = expanded(catalogue, body | {"instances": body["instances"][::-1]})
    assert {last - index for index in plan.refused} == set(mirrored.refused)
    assert by_key(plan) == by_key(mirrored)


def by_key(plan: Plan) -> dict[Any, Any]:
    return {(planned.bk_host_id, planned.instance_key): (planned.name, planned.processes) for planned in plan.instances}


@given(catalogues(), bodies())
def test_nothing_is_missing_under_what_was_just_written(catalogue, body):
    for planned in expanded(catalogue, body).instances:
        missing = reconcile(planned, as_existing(planned))
        assert missing.is_empty
        assert missing.differences == missing.blocked == ()
        assert [id_ for _, id_ in missing.kept] == list(range(100, 100 + len(planned.processes)))


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
        for id_, row in missing.bind_rows:
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


def run_both(catalogue: CatalogueSlice, requests: list[dict[str, Any]]) -> None:
    store, model = Store(), Model()
    for number, body in enumerate(requests):
        batch = parsed(body)
        try:
            plan = expand(catalogue, batch, f"r{number}")
        except Refused:
            continue
        outcomes = store.apply(plan, batch.on_existing, batch.mode)
        assert outcomes == model.apply(plan, on_existing=batch.on_existing, mode=batch.mode)
        for outcome in set(outcomes):
            event(outcome)
        assert store.rows() == model.rows()
        rows = store.rows()
        store.apply(plan, "reuse", batch.mode)
        model.apply(plan, mode=batch.mode)
        assert store.rows() == model.rows()
        if batch.on_existing == "reuse":
            assert store.rows() == rows


@given(catalogues(), st.lists(bodies(), min_size=1, max_size=4))
def test_any_requests_end_in_the_rows_of_the_model(catalogue, requests):
    run_both(catalogue, requests)


@given(st.lists(bodies(OVERLAPPING), min_size=1, max_size=6))
def test_overlapping_requests_end_in_the_rows_of_the_model(requests):
    run_both(UNBOUND, requests)


@given(st.lists(bodies(OVERLAPPING), min_size=1, max_size=4), st.randoms())
def test_requests_that_have_been_written_change_nothing_in_any_order(requests, random):
    """Written twice: the first round can leave out a process that is another one's double until a later request comes.

    Only its bind rows can then be added, to the process of that name, so a second round has nothing left to add.
    """
    model = Model()
    plans = [expand(UNBOUND, parsed(body), "r") for body in requests]
    for plan in [*plans, *plans]:
        model.apply(plan)
    rows, again = model.rows(), [*plans, *plans]
    random.shuffle(again)
    for plan in again:
        assert {"created", "healed"}.isdisjoint(model.apply(plan))
    assert model.rows() == rows


@given(st.lists(bodies(AGREEING, on_existing=("reuse",)), min_size=2, max_size=5), st.randoms())
def test_agreeing_requests_end_in_the_same_rows_in_any_order(requests, random):
    plans = [expand(UNBOUND, parsed(body), "r") for body in requests]
    ends = []
    for _ in range(3):
        model, store = Model(), Store()
        for plan, body in random.sample([*zip(plans, requests, strict=True)], len(plans)):
            assert model.apply(plan, mode=body["mode"]) == store.apply(plan, "reuse", body["mode"])
        assert store.rows() == model.rows()
        ends.append(model.rows())
    assert ends[0] == ends[1] == ends[2]
