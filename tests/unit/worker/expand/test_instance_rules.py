"""Rules of one instance: its name, its template, its natural key, and itself twice in one request."""

import pytest

from contract.codes import Why
from contract.request.batch import ServiceInstanceBatch
from tests.unit.worker.expand.builders import (
    REQUEST_ID,
    bind,
    bound,
    free,
    hosts,
    instance,
    locked,
    named,
    one,
    plan,
    process,
    said,
    template,
    unbound,
)
from worker.expand.catalogue import Host
from worker.expand.expand import expand
from worker.expand.reconcile import refuse_existing

BOUND = bound(template(1, timeout=free(10), priority=locked(5)))


@pytest.mark.rule(
    "V10", "service_instance_name longer than 256 bytes of UTF-8: 1199006", ours="the submitter says so first"
)
@pytest.mark.parametrize(
    ("name", "fits"), [("n" * 256, True), ("n" * 257, False), ("名" * 85, True), ("名" * 86, False)]
)
def test_name_is_limited_in_bytes(name, fits):
    # A message that another service put on the queue has not been through the submitter.
    batch = ServiceInstanceBatch(bk_biz_id=1, bk_module_id=60, processes=[], instances=[(1, name, None)])
    expanded = expand(BOUND, batch, REQUEST_ID)
    if fits:
        assert expanded.instances[0].name == name
    else:
        assert said(expanded.refused[0]) == (1199006, "instances[0].service_instance_name")


@pytest.mark.rule("V14", "the service template is missing: 1199006 service_template_id")
def test_missing_service_template_is_refused():
    refused = plan(bound(template(), service_template_biz_id=None), instance()).refused[0]
    assert (refused.code, refused.message_args) == (1199006, ("service_template_id", Why.TEMPLATE_MISSING))


@pytest.mark.rule("V15", "the host is missing: 1199006 bk_host_id", ours="V9 has said so already; one read serves both")
def test_missing_host_is_refused_by_v9():
    assert plan(bound(template(), hosts={}), instance(), mode="partial").refused[0].code == 1110056


@pytest.mark.rule("V16", "the service template belongs to another business: 1199006 bk_biz_id")
def test_service_template_of_another_business_is_refused():
    assert said(plan(bound(template(), service_template_biz_id=2), instance()).refused[0]) == (1199006, "bk_biz_id")


@pytest.mark.rule(
    "V17",
    "bound, and the host has a service instance of the module already: 1113016 with the host's inner IP",
    ours="only under on_existing=fail; by default the existing instance is the answer",
)
@pytest.mark.parametrize(
    ("host", "shown"),
    [
        (Host(1, "10.0.0.1,10.0.0.2", bk_host_innerip_v6="fd00::1"), "10.0.0.1,10.0.0.2"),
        (Host(1, bk_host_innerip_v6="fd00::1"), "fd00::1"),
        (Host(1), "1"),
    ],
)
def test_existing_instances_are_refused_by_index_with_the_hosts_address(host, shown):
    planned = plan(bound(template(), host=host), instance(), on_existing="fail").instances
    refused = refuse_existing(planned, {1: host})
    assert said(refused[0]) == (1113016, "instances[0].bk_host_id")
    assert refused[0].message_args == (shown,)


def test_only_the_instances_that_exist_are_refused():
    planned = plan(BOUND, instance(1), instance(2), instance(3), on_existing="fail").instances
    assert list(refuse_existing(planned[1:2], hosts(1, 2, 3))) == [1]


def test_a_bound_instance_is_keyed_by_module_and_host_alone():
    assert one(BOUND, instance(1, service_instance_name="given")).instance_key == ""


def test_an_unbound_instance_is_keyed_by_its_name_given_or_generated():
    assert one(unbound(), instance(1, named(), service_instance_name="given")).instance_key == "given"
    assert one(unbound(), instance(1, named())).instance_key == "10.0.0.1_nginx"


def test_a_clone_is_keyed_by_its_request_and_place():
    expanded = plan(unbound(), instance(1, named()), instance(1, named()), on_existing="clone")
    assert [planned.instance_key for planned in expanded.instances] == [f"{REQUEST_ID}/0", f"{REQUEST_ID}/1"]
    assert [planned.name for planned in expanded.instances] == ["10.0.0.1_nginx"] * 2
    assert [planned.duplicate_of for planned in expanded.instances] == [None, None]


DUPLICATE_RULE = pytest.mark.rule(
    "A29",
    "one host twice in a request: bound 1113016, unbound two instances",
    ours="same key and content give one instance and its id twice, other content 1199014 naming all of them",
)


@DUPLICATE_RULE
@pytest.mark.parametrize(
    ("catalogue", "first", "second"),
    [
        (BOUND, instance(1), instance(1)),
        (BOUND, instance(1), instance(1, process(1, timeout=10))),
        (BOUND, instance(1, process(1, priority=5)), instance(1, process(1, priority=9))),
        (BOUND, instance(1, process(99)), instance(1)),
        (unbound(), instance(1, named()), instance(1, named(description=""))),
        (unbound(), instance(1, named("a"), named("b")), instance(1, named("a"), named("b"))),
        (
            unbound(),
            instance(1, named(), service_instance_name="10.0.0.1_nginx"),
            instance(1, named()),
        ),
    ],
    ids=["bare", "the template's value", "locked", "ignored item", "a default", "two processes", "the generated name"],
)
def test_the_same_content_twice_is_one_instance(catalogue, first, second):
    expanded = plan(catalogue, first, instance(2, named()), second)
    assert not expanded.refused
    assert [planned.duplicate_of for planned in expanded.instances] == [None, None, 0]
    assert [planned.index for planned in expanded.instances] == [0, 1, 2]


@DUPLICATE_RULE
@pytest.mark.parametrize(
    ("catalogue", "first", "second"),
    [
        (BOUND, instance(1), instance(1, process(1, timeout=11))),
        (BOUND, instance(1, service_instance_name="a"), instance(1, service_instance_name="b")),
        (BOUND, instance(1, service_instance_name="a"), instance(1)),
        (unbound(), instance(1, named()), instance(1, named(user="root"))),
        (unbound(), instance(1, named("a"), named("b")), instance(1, named("a"))),
    ],
    ids=["a value", "names", "a name and none", "unbound value", "unbound processes"],
)
@pytest.mark.parametrize("mode", ["atomic", "partial"])
def test_other_content_under_one_key_is_refused_on_both_sides(catalogue, first, second, mode):
    expanded = plan(catalogue, instance(2, named()), first, second, mode=mode)
    assert {index: said(problem) for index, problem in expanded.refused.items()} == {
        1: (1199014, "instances[1].bk_host_id"),
        2: (1199014, "instances[2].bk_host_id"),
    }
    assert expanded.refused[1].message_args == ("instances[1], instances[2]",)
    assert [planned.index for planned in expanded.instances] == [0]


def test_an_instance_that_is_refused_for_itself_conflicts_with_nothing():
    expanded = plan(unbound(), instance(1, named()), instance(1, named(timeout=0)), mode="partial")
    assert list(expanded.refused) == [1]
    assert expanded.instances[0].duplicate_of is None


@pytest.mark.rule("A29", "unbound: one host may have several instances", ours="by name; unnamed ones are named by 4.3")
def test_unbound_instances_of_other_names_are_two():
    expanded = plan(unbound(), instance(1, named("a")), instance(1, named("b")))
    assert [planned.instance_key for planned in expanded.instances] == ["10.0.0.1_a", "10.0.0.1_b"]


@pytest.mark.rule("A31", "ids are answered in the order of the input")
def test_instances_keep_the_order_of_the_request():
    expanded = plan(BOUND, *(instance(host) for host in (5, 3, 9, 1)))
    assert [(planned.index, planned.bk_host_id) for planned in expanded.instances] == [(0, 5), (1, 3), (2, 9), (3, 1)]


@pytest.mark.rule("2.2", "which bad instance decides is random", ours="the first by index; all are listed")
def test_every_bad_instance_is_refused_under_its_index():
    bad = named(timeout=0)
    expanded = plan(unbound(), instance(1, bad), instance(2, named()), instance(3, bad))
    assert {index: said(problem) for index, problem in expanded.refused.items()} == {
        0: (1199011, "instances[0].processes[0].process_info.timeout"),
        2: (1199011, "instances[2].processes[0].process_info.timeout"),
    }


def test_a_plan_says_whose_it_is():
    expanded = plan(bound(template(1, bind())), instance())
    assert (expanded.bk_biz_id, expanded.bk_module_id, expanded.service_template_id) == (1, 60, 7)


def test_a_given_name_is_told_from_a_generated_one():
    assert one(BOUND, instance(1, service_instance_name="given")).is_name_given
    assert not one(BOUND, instance(1, service_instance_name="")).is_name_given
