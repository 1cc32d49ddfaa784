"""Processes built from the templates of a bound module (3.5), and the documented example request (3.7)."""

import json

import pytest

from contract.request.batch import PROCESS_PROPERTIES
from contract.request.parse import parse
from devstack import sample
from tests.unit.worker.expand.builders import (
    bind,
    bound,
    free,
    instance,
    locked,
    one,
    one_process,
    one_row,
    process,
    refusal,
    template,
)
from worker.expand.catalogue import Host, ProcessTemplate
from worker.expand.expand import expand

PATH = "instances[0].processes[0].process_info"

# 3.5 ----------------------------------------------------------------------------------------------------------------


@pytest.mark.rule("3.5", "every process template yields one process, ids ascending, listed by the caller or not")
@pytest.mark.parametrize("items", [[], [process(2, timeout=30)], [process(3), process(1)]])
def test_every_template_yields_one_process(items):
    planned = one(bound(template(1), template(2), template(3)), instance(1, *items))
    assert [item.process_template_id for item in planned.processes] == [1, 2, 3]


@pytest.mark.rule("3.5", "every value is copied, locked or not; null stays null")
def test_every_value_is_copied():
    columns = {name: free(f"v-{name}") for name, rule in PROCESS_PROPERTIES.items() if rule.type == "text"}
    columns |= {"proc_num": locked(3), "timeout": free(7), "priority": free(), "auto_start": locked(True)}
    values = one_process(bound(ProcessTemplate(1, columns))).values
    assert list(values) == list(PROCESS_PROPERTIES)
    for name, value in values.items():
        assert value == (columns[name].value if name in columns else None)


@pytest.mark.rule("3.5", "one bind row per template row, in the template's order, under the row's id")
def test_every_row_is_copied_in_order():
    rows = [bind(5, port=free("85")), bind(2, port=locked("82"), protocol=locked("2")), bind(9, port=free("89"))]
    planned = one_process(bound(template(1, *rows)))
    assert planned.bind_info == (
        (5, "127.0.0.1", "85", "1", True),
        (2, "127.0.0.1", "82", "2", True),
        (9, "127.0.0.1", "89", "1", True),
    )


@pytest.mark.rule("3.5", "enable null becomes false")
@pytest.mark.parametrize(("value", "stored"), [(None, False), (False, False), (True, True)])
def test_enable_of_a_template(value, stored):
    assert one_row(bound(template(1, bind(1, enable=free(value))))).enable is stored


@pytest.mark.rule("3.5", "the ip is resolved against the instance's own host")
def test_ip_is_resolved_for_each_host():
    catalogue = bound(template(1, bind(1, ip=locked("3"))))
    expanded = expand(
        catalogue,
        parse({"bk_biz_id": 1, "bk_module_id": 60, "instances": [{"bk_host_id": 4}, {"bk_host_id": 2}]}).batch,
        "r",
    )
    addresses = [planned.processes[0].bind_info[0].ip for planned in expanded.instances]
    assert addresses == ["10.0.0.4", "10.0.0.2"]


@pytest.mark.rule("V20", "a template value that the process model does not take: 1108008")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("bk_start_check_secs", 601),
        ("bk_start_check_secs", 10_000),
        ("description", "x" * 257),
        ("start_cmd", "名" * 667),
        ("bk_process_name", "x" * 257),
        ("bk_func_name", ""),
    ],
)
def test_template_value_that_no_process_can_have_is_refused(name, value):
    catalogue = bound(template(4, **{name: locked(value)}))
    path = f"instances[0].processes[process_template_id=4].process_info.{name}"
    assert refusal(catalogue) == (1108008, path)
    assert refusal(catalogue, process(4, **{name: value}, proc_num=1)) == (1108008, path)


def test_override_helps_an_unfit_template_value():
    catalogue = bound(template(1, bk_start_check_secs=free(601)))
    assert one_process(catalogue, process(1, bk_start_check_secs=600)).values["bk_start_check_secs"] == 600


# 3.7: the documented example request ----------------------------------------------------------------------------------

EXAMPLE = json.loads(sample.REQUEST.read_bytes())
JOB_JAVA = bound(
    ProcessTemplate(
        1,
        {
            "bk_func_name": locked("java"),
            "bk_process_name": locked("job_java"),
            "timeout": free(10),
            "priority": locked(5),
            "proc_num": free(),
        },
        (bind(1, ip=locked("3"), port=locked("80"), protocol=free("1"), enable=free(True)),),
    ),
    host=Host(2, "10.0.0.2"),
)


def expand_example(template_row_id):
    body = json.loads(json.dumps(EXAMPLE))
    body["instances"][0]["processes"][0]["process_info"]["bind_info"][0]["template_row_id"] = template_row_id
    expanded = expand(JOB_JAVA, parse(body).batch, "r")
    assert not expanded.refused
    return expanded


@pytest.mark.rule("3.7", "the documented example request, expanded with a template of one row")
def test_documented_example():
    expanded = expand_example(1234)
    (planned,) = expanded.instances
    (stored,) = planned.processes
    assert planned.name == "10.0.0.2_job_java_80"
    assert stored.process_template_id == 1
    assert stored.values == {
        "bk_process_name": "job_java",
        "bk_func_name": "java",
        "bk_start_param_regex": None,
        "description": "",
        "work_path": "/data/bkee",
        "user": "",
        "start_cmd": "",
        "stop_cmd": "",
        "restart_cmd": "",
        "face_stop_cmd": "",
        "reload_cmd": "",
        "pid_file": "",
        "auto_start": False,
        "proc_num": 1,
        "timeout": 30,
        "priority": 5,
        "bk_start_check_secs": None,
        "auto_time_gap": 60,
        "bk_func_id": "",
    }
    assert stored.bind_info == ((1, "10.0.0.2", "80", "1", True),)
    assert expanded.warnings == ((f"{PATH}.priority", "locked"), (f"{PATH}.bind_info[0]", "row_unmatched"))


@pytest.mark.rule(
    "3.7", "the same with template_row_id 1: ip and port from the template, protocol and enable the caller's"
)
def test_documented_example_with_a_matching_row():
    expanded = expand_example(1)
    assert expanded.instances[0].processes[0].bind_info == ((1, "10.0.0.2", "80", "1", False),)
    assert expanded.warnings == ((f"{PATH}.priority", "locked"), (f"{PATH}.bind_info[0].ip", "locked"))
