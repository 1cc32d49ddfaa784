"""CMDB V4 to V9: what is wrong with the module, or with the hosts and processes of all instances."""

import pytest

from contract.codes import Refused, Why
from tests.unit.worker.expand.builders import bound, hosts, instance, named, plan, said, template, unbound
from worker.expand.catalogue import Module

ATOMIC_FIRST = "all such instances are listed; in mode partial each stands alone"


def refused_each(catalogue, *instances, **fields):
    """The refusals by index of a plan of which nothing is left."""
    expanded = plan(catalogue, *instances, **fields)
    assert (expanded.instances, expanded.warnings) == ((), ())
    return expanded.refused


def refused_whole(catalogue, *instances, **fields):
    with pytest.raises(Refused) as caught:
        plan(catalogue, *instances, **fields)
    return caught.value


@pytest.mark.rule(
    "V12", "the module is gone since V4: 1199006 bk_module_id", ours="all checks see one version of the catalogue"
)
@pytest.mark.rule("V4", "no module with the id in any business: 1101034")
def test_unknown_module_is_refused():
    assert said(refused_whole(bound(template(), module=None), instance())) == (1101034, "bk_module_id")


@pytest.mark.rule(
    "V11", "the business does not exist: 1199006 bk_biz_id", ours="V5 has said so: no module belongs to it"
)
@pytest.mark.rule("V5", "the module's business is not bk_biz_id: 1113004 with module and business id")
def test_module_of_another_business_is_refused():
    problem = refused_whole(bound(template()), instance(), bk_biz_id=2)
    assert said(problem) == (1113004, "bk_module_id")
    assert problem.message_args == (60, 2)


@pytest.mark.rule("V6", "a built-in module (default is not 0): 1199006 bk_module_id")
@pytest.mark.parametrize("default", [1, 2, 3, 4, 5])
def test_built_in_module_is_refused(default):
    module = Module(60, 1, "idle", default=default)
    assert said(refused_whole(unbound(module=module), instance(1, named()))) == (1199006, "bk_module_id")


@pytest.mark.rule(
    "V18",
    "bound, and no process template is left when the processes are made: 1199006 service_template_id",
    ours="V7 has said so: one read serves both",
)
@pytest.mark.rule("V7", "bound, and the service template has no process template: 1199006 service_template_id")
def test_service_template_without_processes_is_refused_whatever_the_caller_lists():
    problem = refused_whole(bound(), instance(1, named()))
    assert said(problem) == (1199006, "bk_module_id")
    assert problem.message_args == ("service_template_id", Why.TEMPLATE_EMPTY)


@pytest.mark.rule("V8", "unbound, and an instance has no processes: 1199010 instances.processes", ours=ATOMIC_FIRST)
@pytest.mark.parametrize("nothing", [{}, {"processes": None}, {"processes": []}])
def test_unbound_instance_without_processes_is_refused(nothing):
    refused = refused_each(unbound(), instance(1, named()), *({"bk_host_id": host, **nothing} for host in (2, 99)))
    assert {index: said(problem) for index, problem in refused.items()} == {
        index: (1199010, f"instances[{index}].processes") for index in (1, 2)
    }


def test_unbound_instance_without_processes_stands_alone_in_a_partial_request():
    expanded = plan(unbound(), {"bk_host_id": 1}, instance(2, named()), mode="partial")
    assert {index: said(problem) for index, problem in expanded.refused.items()} == {
        0: (1199010, "instances[0].processes")
    }
    assert [planned.index for planned in expanded.instances] == [1]


@pytest.mark.rule("A4", "processes is required in an unbound module only")
def test_bound_instance_without_processes_is_pure_template_expansion():
    expanded = plan(bound(template(1), template(2)), {"bk_host_id": 1})
    assert [process.process_template_id for process in expanded.instances[0].processes] == [1, 2]


@pytest.mark.rule("V9", "hosts not in the module: 1110056 with all of them, each once, in first-seen order")
def test_hosts_outside_the_module_are_refused_together():
    instances = [instance(host, named(f"p{index}")) for index, host in enumerate([1, 30, 20, 30])]
    refused = refused_each(unbound(hosts=hosts(1)), *instances)
    assert {index: (said(problem), problem.message_args) for index, problem in refused.items()} == {
        1: ((1110056, "instances[1].bk_host_id"), ([30, 20],)),
        2: ((1110056, "instances[2].bk_host_id"), ([20],)),
        3: ((1110056, "instances[3].bk_host_id"), ([30],)),
    }


def test_hosts_outside_the_module_stand_alone_in_a_partial_request():
    expanded = plan(unbound(hosts=hosts(1)), *(instance(host, named()) for host in (30, 1, 20)), mode="partial")
    assert {index: (said(problem), problem.message_args) for index, problem in expanded.refused.items()} == {
        0: ((1110056, "instances[0].bk_host_id"), ([30],)),
        2: ((1110056, "instances[2].bk_host_id"), ([20],)),
    }
    assert [planned.index for planned in expanded.instances] == [1]


@pytest.mark.parametrize(
    ("catalogue", "fields", "code"),
    [
        (unbound(module=Module(60, 2, "elsewhere", default=1), hosts={}), {}, 1113004),
        (unbound(module=Module(60, 1, "idle", default=1), hosts={}), {}, 1199006),
        (bound(hosts={}), {}, 1199006),
        (unbound(hosts={}), {}, 1199010),
        (bound(template(), hosts={}, service_template_biz_id=2), {}, 1110056),
    ],
    ids=["V5 before V6", "V6 before V8", "V7 before V9", "V8 before V9", "V9 before V16"],
)
@pytest.mark.rule(
    "2.2", "checks of the module and of all instances come in the order V4 to V9, before any instance's own"
)
def test_the_first_check_in_order_decides(catalogue, fields, code):
    try:
        [problem] = plan(catalogue, {"bk_host_id": 1}, **fields).refused.values()
    except Refused as whole:
        problem = whole
    assert problem.code == code


def test_v8_and_v9_come_before_a_bad_value_of_an_earlier_instance():
    bad_value = instance(1, named(timeout=0))
    without_processes = refused_each(unbound(), bad_value, {"bk_host_id": 2})
    elsewhere = refused_each(unbound(hosts=hosts(1)), bad_value, instance(20, named()))
    assert {index: problem.code for index, problem in without_processes.items()} == {1: 1199010}
    assert {index: problem.code for index, problem in elsewhere.items()} == {1: 1110056}


@pytest.mark.rule(
    "A29", "a second instance on one host exists in unbound modules only", ours="asked for by on_existing=clone"
)
def test_clone_is_refused_where_a_template_allows_one_instance_per_host():
    assert said(refused_whole(bound(template()), instance(), on_existing="clone")) == (1199006, "on_existing")
