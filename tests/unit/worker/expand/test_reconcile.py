"""Healing: what a planned instance adds to an existing one."""

from dataclasses import replace

import pytest

from tests.unit.worker.expand.builders import (
    bind,
    bound,
    free,
    instance,
    locked,
    named,
    one,
    process,
    template,
    unbound,
)
from worker.expand.reconcile import ExistingInstance, ExistingProcess, Missing, reconcile

BOUND = bound(template(1, bind(1), bind(2, port=free("81")), timeout=free(10)), template(2, bind(1, port=free("90"))))
ROWS = [{"port": "80", "protocol": "1"}, {"port": "81", "protocol": "1"}]


def as_existing(planned, *, skip=(), first_id=100):
    """The planned instance as if it had been written, process ids ascending; without the processes in `skip`."""
    processes = tuple(
        ExistingProcess(first_id + position, item.process_template_id, dict(item.values), item.bind_info)
        for position, item in enumerate(planned.processes)
        if position not in skip
    )
    return ExistingInstance(1, planned.name, processes)


def change(existing, position=0, *, bind_info=None, **values):
    """`existing` with other values in one process."""
    processes = list(existing.processes)
    found = processes[position]
    rows = found.bind_info if bind_info is None else bind_info
    processes[position] = replace(found, values={**found.values, **values}, bind_info=rows)
    return replace(existing, processes=tuple(processes))


@pytest.mark.parametrize(
    "planned",
    [one(BOUND, instance(1)), one(unbound(), instance(1, named("a", bind_info=ROWS), named("b")))],
    ids=["bound", "unbound"],
)
def test_nothing_is_missing_where_everything_is(planned):
    missing = reconcile(planned, as_existing(planned))
    assert missing == Missing(kept=tuple(zip(planned.processes, (100, 101), strict=True)))
    assert missing.is_empty


@pytest.mark.rule(
    "A30", "the same request again is 1113016 or a second set of rows", ours="completed, same ids, no new rows"
)
@pytest.mark.parametrize("lost", [0, 1])
@pytest.mark.parametrize(
    "planned",
    [one(BOUND, instance(1)), one(unbound(), instance(1, named("a"), named("b")))],
    ids=["bound", "unbound"],
)
def test_a_missing_process_is_added(planned, lost):
    missing = reconcile(planned, as_existing(planned, skip={lost}))
    assert missing.processes == (planned.processes[lost],)
    assert missing.kept == ((planned.processes[1 - lost], 100 + 1 - lost),)
    assert missing.differences == missing.blocked == missing.bind_rows == ()
    assert not missing.is_empty


def test_an_instance_without_processes_is_completed():
    planned = one(BOUND, instance(1))
    assert reconcile(planned, ExistingInstance(1, planned.name)).processes == planned.processes


@pytest.mark.parametrize("lost", [0, 1])
def test_a_missing_bind_row_is_added_under_its_process(lost):
    planned = one(BOUND, instance(1))
    rows = planned.processes[0].bind_info
    missing = reconcile(planned, change(as_existing(planned), bind_info=(rows[1 - lost],)))
    assert missing.bind_rows == ((100, lost, rows[lost]),)
    assert missing.processes == missing.differences == ()
    assert not missing.is_empty


def test_other_values_are_told_and_left():
    planned = one(BOUND, instance(1, process(2), process(1, timeout=30)))
    existing = change(as_existing(planned), timeout=10, user="root")
    missing = reconcile(planned, change(existing, 1, description="x"))
    assert missing.is_empty
    assert missing.differences == (
        "instances[0].processes[1].process_info.user",
        "instances[0].processes[1].process_info.timeout",
        "instances[0].processes[0].process_info.description",
    )


def test_a_process_the_request_does_not_list_is_named_by_its_template():
    planned = one(BOUND, instance(1))
    missing = reconcile(planned, change(as_existing(planned), timeout=99))
    assert missing.differences == ("instances[0].processes[process_template_id=1].process_info.timeout",)


def test_other_columns_of_a_row_are_told_and_left():
    planned = one(BOUND, instance(1, process(1)))
    rows = planned.processes[0].bind_info
    stored = (rows[0]._replace(ip="1.2.3.4", enable=False), rows[1])
    missing = reconcile(planned, change(as_existing(planned), bind_info=stored))
    path = "instances[0].processes[0].process_info.bind_info[template_row_id=1]"
    assert missing.is_empty
    assert missing.differences == (f"{path}.ip", f"{path}.enable")


def test_what_exists_beyond_the_request_is_no_difference():
    planned = one(unbound(), instance(1, named("a", bind_info=ROWS), named("b")))
    fewer = replace(planned, processes=(replace(planned.processes[0], bind_info=planned.processes[0].bind_info[:1]),))
    assert reconcile(fewer, as_existing(planned)) == Missing(kept=((fewer.processes[0], 100),))


@pytest.mark.parametrize(
    ("fields", "differences"),
    [
        ({"service_instance_name": "new"}, ("instances[0].service_instance_name",)),
        ({"service_instance_name": "old"}, ()),
        ({}, ()),
    ],
)
def test_a_name_that_was_asked_for_is_compared(fields, differences):
    planned = one(BOUND, instance(1, **fields))
    assert reconcile(planned, replace(as_existing(planned), name="old")).differences == differences


# Uniqueness inside the existing instance ------------------------------------------------------------------------------


def test_a_function_that_another_process_has_is_a_difference():
    planned = one(unbound(), instance(1, process(0, bk_process_name="new", bk_func_name="java")))
    old = one(unbound(), instance(1, process(0, bk_process_name="old", bk_func_name="java")))
    missing = reconcile(planned, as_existing(old))
    assert missing == Missing(
        blocked=planned.processes, differences=("instances[0].processes[0].process_info.bk_func_name",)
    )
    assert missing.is_empty


def test_another_start_regex_or_a_null_one_is_no_clash():
    old = one(unbound(), instance(1, process(0, bk_process_name="old", bk_func_name="java")))
    for regex in ("-c", None):
        item = process(0, bk_process_name="new", bk_func_name="java", bk_start_param_regex=regex)
        planned = one(unbound(), instance(1, item))
        assert reconcile(planned, as_existing(old)).processes == planned.processes


def test_a_name_that_another_templates_process_has_is_a_difference():
    old = one(bound(template(1, bk_process_name=locked("java"))), instance(1))
    planned = one(bound(template(2, bk_process_name=locked("java"))), instance(1))
    missing = reconcile(planned, as_existing(old))
    assert missing == Missing(
        blocked=planned.processes,
        differences=("instances[0].processes[process_template_id=2].process_info.bk_process_name",),
    )


def test_the_rest_is_completed_beside_a_clash():
    planned = one(unbound(), instance(1, named("a"), process(0, bk_process_name="b", bk_func_name="java"), named("c")))
    old = one(unbound(), instance(1, named("a"), process(0, bk_process_name="z", bk_func_name="java")))
    missing = reconcile(planned, as_existing(old))
    assert missing.kept == ((planned.processes[0], 100),)
    assert missing.blocked == (planned.processes[1],)
    assert missing.processes == (planned.processes[2],)
