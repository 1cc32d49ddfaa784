"""What holds for every catalogue and every request."""

from typing import Any

from hypothesis import assume, given

from contract.codes import Refused
from contract.request.batch import PROCESS_PROPERTIES
from contract.request.parse import parse
from tests.strategies import Asked, Tape, body, catalogue, examples, thousand
from worker.expand.bind_columns import canonical_ip, port_range
from worker.expand.expand import CatalogueSlice, expand
from worker.expand.plan import Plan, PlannedInstance
from worker.expand.reconcile import ExistingInstance, ExistingProcess, reconcile


def request(tape: Tape) -> Asked:
    return catalogue(tape), body(tape)


any_request = given(examples(request))


def expanded(catalogue: CatalogueSlice, body: dict[str, Any]) -> Plan:
    try:
        return expand(catalogue, parse(body).batch, "r")
    except Refused:
        assume(False)
        raise


def as_existing(planned: PlannedInstance) -> ExistingInstance:
    processes = (
        ExistingProcess(id_, process.process_template_id, dict(process.values), process.bind_info)
        for id_, process in enumerate(planned.processes, start=100)
    )
    return ExistingInstance(1, planned.name, tuple(processes))


@thousand
@any_request
def test_expansion_is_deterministic(asked):
    catalogue, body = asked

    def answer() -> object:
        try:
            plan = expand(catalogue, parse(body).batch, "r")
        except Refused as problem:
            return problem.code, problem.message_args, problem.path
        refused = [(index, problem.code, problem.message_args, problem.path) for index, problem in plan.refused.items()]
        return plan.instances, refused, plan.warnings

    assert answer() == answer()


@thousand
@any_request
def test_every_instance_is_planned_or_refused(asked):
    plan = expanded(*asked)
    planned = [instance.index for instance in plan.instances]
    assert planned == sorted(planned)
    assert list(plan.refused) == sorted(plan.refused)
    if planned or asked[1]["mode"] == "partial":
        assert sorted([*planned, *plan.refused]) == list(range(len(asked[1]["instances"])))
    else:
        assert plan.refused
    for index, problem in plan.refused.items():
        assert problem.path.startswith((f"instances[{index}]", "bk_"))
        assert problem.message()


@thousand
@any_request
def test_natural_keys_are_unique_within_a_plan(asked):
    plan = expanded(*asked)
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


@thousand
@any_request
def test_what_is_planned_can_be_stored(asked):
    for planned in expanded(*asked).instances:
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


@thousand
@any_request
def test_duplicates_refer_to_an_equal_earlier_instance(asked):
    plan = expanded(*asked)
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


@thousand
@any_request
def test_the_order_of_instances_decides_nothing(asked):
    catalogue, body = asked
    plan = expanded(catalogue, body)
    last = len(body["instances"]) - 1
    mirrored = expanded(catalogue, body | {"instances": body["instances"][::-1]})
    assert {last - index for index in plan.refused} == set(mirrored.refused)
    assert by_key(plan) == by_key(mirrored)


def by_key(plan: Plan) -> dict[Any, Any]:
    return {(planned.bk_host_id, planned.instance_key): (planned.name, planned.processes) for planned in plan.instances}


@thousand
@any_request
def test_nothing_is_missing_under_what_was_just_written(asked):
    for planned in expanded(*asked).instances:
        missing = reconcile(planned, as_existing(planned))
        assert missing.is_empty
        assert missing.differences == missing.blocked == ()
        assert [id_ for _, id_ in missing.kept] == list(range(100, 100 + len(planned.processes)))
