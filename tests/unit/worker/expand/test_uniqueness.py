"""What must differ inside one service instance (4.4)."""

import pytest

from tests.unit.worker.expand.builders import (
    bound,
    free,
    instance,
    locked,
    one,
    plan,
    process,
    refusal,
    said,
    template,
    unbound,
)

PATH = "instances[0].processes"


def item(name, func, **info):
    return process(0, bk_process_name=name, bk_func_name=func, **info)


@pytest.mark.rule(
    "V21",
    "the processes of an unbound instance fail: 1199010, 1199011 or 1199014 around the inner error",
    ours="the inner error alone, with its path",
)
@pytest.mark.rule("4.4", "two processes of one name in an instance: 1199014")
@pytest.mark.parametrize("again", ["nginx", " nginx "])
def test_same_name_is_refused(again):
    assert refusal(unbound(), item("nginx", "a"), item(again, "b")) == (
        1199014,
        f"{PATH}[1].process_info.bk_process_name",
    )


@pytest.mark.rule("4.4", "the same function and start regex: 1199014")
@pytest.mark.parametrize("regex", ["", "-c x"])
def test_same_function_and_regex_are_refused(regex):
    items = [item(name, "java", bk_start_param_regex=regex) for name in "ab"]
    assert refusal(unbound(), *items) == (1199014, f"{PATH}[1].process_info.bk_func_name")


@pytest.mark.rule("4.4", 'two unbound processes without a start regex collide: an absent one is filled with ""')
def test_absent_regex_takes_part():
    problem = plan(unbound(), instance(1, item("a", "java"), item("b", "java", bk_start_param_regex=""))).refused[0]
    assert problem.message_args == (f"{PATH}[0].process_info.bk_func_name, {PATH}[1].process_info.bk_func_name",)


@pytest.mark.rule("4.4", "a null start regex collides with nothing")
def test_null_regex_escapes():
    items = [item(name, "java", bk_start_param_regex=None) for name in "ab"]
    assert len(one(unbound(), instance(1, *items)).processes) == 2
    catalogue = bound(*(template(id_, bk_func_name=locked("java")) for id_ in (1, 2)))
    assert len(one(catalogue, instance(1)).processes) == 2


def test_other_regex_or_function_is_another_process():
    items = [item("a", "java"), item("b", "java", bk_start_param_regex="-c"), item("c", "python")]
    assert len(one(unbound(), instance(1, *items)).processes) == 3


def test_case_and_inner_blanks_make_another_name():
    assert len(one(unbound(), instance(1, item("a b", "1"), item("A b", "2"), item("a  b", "3"))).processes) == 3


@pytest.mark.rule("V20", "processes of a template that are alike: 1108008")
@pytest.mark.parametrize(
    ("columns", "field"),
    [
        ({"bk_process_name": locked("same")}, "bk_process_name"),
        ({"bk_func_name": locked("same"), "bk_start_param_regex": locked("")}, "bk_func_name"),
    ],
)
def test_alike_templates_are_to_blame(columns, field):
    catalogue = bound(template(1, **columns), template(2, **columns))
    assert refusal(catalogue) == (1108008, f"{PATH}[process_template_id=2].process_info.{field}")


@pytest.mark.rule("V22", "overrides that make two processes alike: 1199014")
def test_overrides_that_make_processes_alike_are_refused():
    columns = {"bk_func_name": locked("java"), "bk_start_param_regex": free("")}
    catalogue = bound(template(1, **columns), template(2, **(columns | {"bk_start_param_regex": free("-c")})))
    assert len(one(catalogue, instance(1)).processes) == 2
    override = process(2, bk_start_param_regex="")
    assert refusal(catalogue, override) == (1199014, f"{PATH}[0].process_info.bk_func_name")


def test_uniqueness_ends_at_the_instance():
    expanded = plan(unbound(), instance(1, item("a", "b")), instance(2, item("a", "b")))
    assert not expanded.refused
    assert [said(problem) for problem in expanded.refused.values()] == []
