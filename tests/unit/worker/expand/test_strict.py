"""Strict mode: what is only ignored otherwise refuses its instance, after everything else that is wrong with it."""

import pytest

from contract.codes import Reason
from tests.unit.worker.expand.builders import bind, bound, free, instance, named, plan, process, said, template, unbound

BOUND = bound(template(1, bind(1)), template(2))
ROW = {"port": "80", "protocol": "1"}

IGNORED = {
    "no process template of the module": (BOUND, [process(1), process(9)], "[1].process_template_id"),
    "process template 0 in a module with templates": (BOUND, [process()], "[0].process_template_id"),
    "a process template twice": (BOUND, [process(2), process(1), process(2)], "[0]"),
    "a row of no template row": (
        BOUND,
        [process(1, bind_info=[{"template_row_id": 7}])],
        "[0].process_info.bind_info[0]",
    ),
    "a process template in a module without": (
        unbound(),
        [process(3, bk_process_name="a", bk_func_name="a")],
        "[0].process_template_id",
    ),
}


@pytest.mark.rule(
    "A5", "a process_template_id that means nothing here is ignored", ours="1199006 with its path in strict mode"
)
@pytest.mark.parametrize(("catalogue", "processes", "path"), IGNORED.values(), ids=IGNORED)
def test_what_would_be_ignored_is_refused(catalogue, processes, path):
    spec = instance(1, *processes)
    lenient, strict = plan(catalogue, spec), plan(catalogue, spec, strict=True)
    at = f"instances[0].processes{path}"
    assert not lenient.refused
    assert [found for found, _ in lenient.warnings] == [at]
    assert (said(strict.refused[0]), strict.instances, strict.warnings) == ((1199006, at), (), ())


def test_locked_value_stays_a_warning():
    spec = instance(1, process(1, bk_process_name="other"))
    strict = plan(BOUND, spec, strict=True)
    assert not strict.refused
    assert [reason for _, reason in strict.warnings] == [Reason.LOCKED]


def test_other_faults_are_said_first_and_other_instances_stand_alone():
    catalogue = bound(template(1, timeout=free(10)))
    strict = plan(
        catalogue,
        instance(1, process(9), process(1, timeout=0)),
        instance(2, process(1)),
        instance(3, process(9)),
        strict=True,
        mode="partial",
    )
    assert {index: said(refused) for index, refused in strict.refused.items()} == {
        0: (1199011, "instances[0].processes[1].process_info.timeout"),
        2: (1199006, "instances[2].processes[0].process_template_id"),
    }
    assert [planned.index for planned in strict.instances] == [1]


def test_unbound_processes_without_a_template_are_taken():
    assert not plan(unbound(), instance(1, named(bind_info=[ROW])), strict=True).refused
