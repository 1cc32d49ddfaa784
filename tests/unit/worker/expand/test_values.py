"""Scalar properties (3.1), where they are the caller's: in an unbound module, and unlocked in a bound one."""

import pytest

from contract.request.batch import PROCESS_PROPERTIES
from tests.unit.worker.expand.builders import bound, free, named, one_process, process, refusal, template, unbound
from worker.expand.catalogue import ProcessTemplate

SHORT_TEXTS = ["bk_process_name", "bk_func_name", "description", "user", "bk_func_id"]
LONG_TEXTS = [
    "bk_start_param_regex", "work_path", "start_cmd", "stop_cmd", "restart_cmd", "face_stop_cmd", "reload_cmd",
    "pid_file",
]  # fmt: skip
RANGES = {
    "proc_num": (1, 10_000),
    "timeout": (1, 10_000),
    "priority": (-100, 10_000),
    "bk_start_check_secs": (0, 600),
    "auto_time_gap": (1, 10_000),
}
REQUIRED = ["bk_process_name", "bk_func_name"]
PATH = "instances[0].processes[0].process_info."

OPEN = bound(ProcessTemplate(1, {name: free("kept" if name in REQUIRED else None) for name in PROCESS_PROPERTIES}))
"""A module whose one template locks nothing (CMDB's own have always locked names since 2020)."""


def items(**info):
    """The same properties as an unbound and as an unlocked bound process."""
    names = {"bk_process_name": "nginx", "bk_func_name": "nginx"}
    yield unbound(), process(0, **(names | info))
    yield OPEN, process(1, **info)


def stored(name, value):
    return [one_process(catalogue, item).values[name] for catalogue, item in items(**{name: value})]


def refused(name, value):
    return {refusal(catalogue, item) for catalogue, item in items(**{name: value})}


def test_every_property_is_covered_here():
    assert {*SHORT_TEXTS, *LONG_TEXTS, *RANGES, "auto_start"} == set(PROCESS_PROPERTIES)


@pytest.mark.rule("3.1", "texts: at most 256 bytes of UTF-8, commands and paths 2000; beyond: 1199011")
@pytest.mark.parametrize(
    ("name", "limit"), [(name, 256) for name in SHORT_TEXTS] + [(name, 2000) for name in LONG_TEXTS]
)
def test_text_is_limited_in_bytes(name, limit):
    longest_chinese = "名" * (limit // 3) + "x" * (limit % 3)
    assert stored(name, "x" * limit) == ["x" * limit] * 2
    assert stored(name, longest_chinese) == [longest_chinese] * 2
    assert refused(name, "x" * (limit + 1)) == {(1199011, PATH + name)}
    assert refused(name, "名" * (limit // 3 + 1)) == {(1199011, PATH + name)}


@pytest.mark.rule(
    "V21",
    "the processes of an unbound instance fail: 1199010, 1199011 or 1199014 around the inner error",
    ours="the inner error alone, with its path",
)
@pytest.mark.rule("3.1", "ints have a range, ends included; outside: 1199011")
@pytest.mark.parametrize(("name", "low", "high"), [(name, *ends) for name, ends in RANGES.items()])
def test_int_has_a_range(name, low, high):
    assert stored(name, low) == [low] * 2
    assert stored(name, high) == [high] * 2
    assert refused(name, low - 1) == {(1199011, PATH + name)}
    assert refused(name, high + 1) == {(1199011, PATH + name)}
    assert refused(name, 2**63 - 1) == {(1199011, PATH + name)}


@pytest.mark.rule("3.1", "auto_start is a bool")
@pytest.mark.parametrize("value", [True, False])
def test_bool_is_stored(value):
    assert stored("auto_start", value) == [value] * 2


@pytest.mark.rule(
    "V21",
    "the processes of an unbound instance fail: 1199010, 1199011 or 1199014 around the inner error",
    ours="the inner error alone, with its path",
)
@pytest.mark.rule("2.5", "bk_process_name and bk_func_name are required in an unbound module: 1199010")
@pytest.mark.parametrize("name", REQUIRED)
def test_required_name_that_is_absent_is_refused(name):
    info = {"bk_process_name": "nginx", "bk_func_name": "nginx"}
    del info[name]
    assert refusal(unbound(), process(0, **info)) == (1199010, PATH + name)


@pytest.mark.rule("2.5", "a required text that is empty, blank or null: 1199010 inside 1199011", ours="1199010")
@pytest.mark.parametrize("name", REQUIRED)
@pytest.mark.parametrize("nothing", ["", "   ", "\n", None])
def test_required_name_that_is_empty_is_refused(name, nothing):
    assert refused(name, nothing) == {(1199010, PATH + name)}


@pytest.mark.rule("A9", "only bk_process_name and bk_func_name are required, whatever the documentation marks")
@pytest.mark.rule("2.5", 'an absent property of an unbound process is "" for text, null for int, false for bool')
def test_absent_properties_get_defaults():
    values = dict(one_process(unbound(), named()).values)
    names = {"bk_process_name": "nginx", "bk_func_name": "nginx"}
    texts = dict.fromkeys([*SHORT_TEXTS, *LONG_TEXTS], "")
    assert values == {**texts, **dict.fromkeys(RANGES), "auto_start": False, **names}


@pytest.mark.rule("A22", "an explicit null is stored as null")
@pytest.mark.parametrize("name", [name for name in PROCESS_PROPERTIES if name not in REQUIRED])
def test_null_is_stored(name):
    assert stored(name, None) == [None] * 2


@pytest.mark.rule("2.5", "texts are trimmed before they are checked and stored")
@pytest.mark.parametrize("name", ["bk_process_name", "description", "start_cmd"])
def test_text_is_trimmed(name):
    assert stored(name, " \t x y \n") == ["x y"] * 2
    assert stored(name, " " * 3000 + "x") == ["x"] * 2


@pytest.mark.rule("3.1", "any other text is data: no pattern, no enum, the start regex is not compiled")
@pytest.mark.parametrize("text", ["$(reboot)", "'; DROP TABLE process; --", "{{7*7}}", "%s %(x)s {0}", "([", "a\x07b"])
def test_text_is_stored_verbatim(text):
    assert stored("start_cmd", text) == [text] * 2
    assert stored("bk_start_param_regex", text) == [text] * 2


@pytest.mark.rule(
    "A13",
    "auto_time_gap and bk_func_id are documented, but were deleted in 2020: dropped",
    ours="stored, within 1..10000 and 256 bytes",
)
def test_documented_properties_that_cmdb_dropped_are_stored():
    values = one_process(unbound(), named(auto_time_gap=60, bk_func_id="f")).values
    assert (values["auto_time_gap"], values["bk_func_id"]) == (60, "f")


@pytest.mark.rule(
    "A7", "process_info missing: a crash, 1199999", ours="1199010 with the path when unbound, {} when bound"
)
@pytest.mark.parametrize("missing", [{}, {"process_info": None}])
def test_missing_process_info(missing):
    assert refusal(unbound(), missing) == (1199010, PATH.removesuffix("."))
    assert one_process(bound(template(1)), {"process_template_id": 1, **missing}).process_template_id == 1


@pytest.mark.rule("A5", "process_template_id is ignored in an unbound module; 0 is stored", ours="with a warning")
def test_template_id_in_an_unbound_module_is_stored_as_zero():
    item = named() | {"process_template_id": 5}
    assert one_process(unbound(), item).process_template_id == 0


@pytest.mark.rule(
    "A11",
    "bk_biz_id, bk_process_id and bk_supplier_account inside process_info are never trusted",
    ours="with a warning",
)
def test_server_owned_properties_are_not_stored():
    item = named(bk_biz_id=2, bk_process_id=9, bk_supplier_account="x", service_instance_id=5, create_time="x")
    assert set(one_process(unbound(), item).values) == set(PROCESS_PROPERTIES)


@pytest.mark.rule("A14", "process-level port, protocol and bind_ip are dropped and never merged into bind_info")
def test_process_level_port_is_dropped():
    planned = one_process(unbound(), named(port="8008,8443", protocol="1", bind_ip="127.0.0.1"))
    assert planned.bind_info == ()
    assert "port" not in planned.values


@pytest.mark.rule(
    "A8", "properties beside process_info are not read", ours="read as well, since the documentation lists them there"
)
def test_properties_beside_process_info_count_and_nested_ones_win():
    item = {"bk_func_name": "outer", "timeout": 30, "process_info": {"bk_process_name": "a", "bk_func_name": "inner"}}
    values = one_process(unbound(), item).values
    assert (values["bk_func_name"], values["timeout"]) == ("inner", 30)
