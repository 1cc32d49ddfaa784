"""The caller's items over the processes of a bound module (3.6)."""

import pytest

from tests.unit.worker.expand.builders import (
    bind,
    bound,
    free,
    instance,
    locked,
    one,
    one_process,
    process,
    refusal,
    template,
    unbound,
    warned,
)
from worker.expand.catalogue import Host

PATH = "instances[0].processes[0].process_info"
INFO = "[0].process_info"

# 3.6: scalars -------------------------------------------------------------------------------------------------------


@pytest.mark.rule("3.6", "locked: the template's value, whatever the caller sends", ours="with a warning")
@pytest.mark.parametrize("wanted", [10, 99, 0, 10_001, None])
def test_locked_value_wins(wanted):
    catalogue = bound(template(1, timeout=locked(10)))
    assert one_process(catalogue, process(1, timeout=wanted)).values["timeout"] == 10
    expected = [] if wanted == 10 else [(f"{INFO}.timeout", "locked")]
    assert warned(catalogue, process(1, timeout=wanted)) == expected


@pytest.mark.rule("A23", "a locked value is never an error: no range, length or emptiness is checked")
@pytest.mark.parametrize(
    "info", [{"start_cmd": "x" * 5000}, {"bk_process_name": ""}, {"bk_func_name": None}, {"priority": 99_999}]
)
def test_bad_value_of_a_locked_field_is_no_error(info):
    catalogue = bound(template(1, start_cmd=locked("run"), priority=locked(5)))
    assert one_process(catalogue, process(1, **info)).values["start_cmd"] == "run"


def test_nothing_sent_for_a_locked_nothing_is_no_difference():
    catalogue = bound(template(1, user=locked(None), start_cmd=locked(""), priority=locked(None)))
    assert warned(catalogue, process(1, user="", start_cmd=None, priority=None)) == []
    assert warned(catalogue, process(1, priority=0)) == [(f"{INFO}.priority", "locked")]


@pytest.mark.rule("3.6", "unlocked and absent: the template's value")
@pytest.mark.rule("3.6", "unlocked, present and not null: the caller's value")
@pytest.mark.rule("3.6", "unlocked and null: null is stored")
@pytest.mark.parametrize(
    ("info", "stored"), [({}, 10), ({"timeout": 30}, 30), ({"timeout": 10}, 10), ({"timeout": None}, None)]
)
def test_unlocked_value(info, stored):
    catalogue = bound(template(1, timeout=free(10)))
    assert one_process(catalogue, process(1, **info)).values["timeout"] == stored
    assert warned(catalogue, process(1, **info)) == []


@pytest.mark.rule("V22", "an unlocked value out of range or too long: 1199011")
@pytest.mark.parametrize("info", [{"timeout": 0}, {"user": "x" * 257}, {"bk_start_check_secs": 601}])
def test_bad_unlocked_value_is_refused(info):
    (name,) = info
    assert refusal(bound(template(1)), process(1, **info)) == (1199011, f"{PATH}.{name}")


@pytest.mark.rule("A6", "the same process_template_id twice: the last item counts, whole", ours="with a warning")
def test_last_item_wins_whole():
    catalogue = bound(template(1, timeout=free(10), proc_num=free(1)), template(2))
    items = [process(1, timeout=30, proc_num=9), process(2), process(1, proc_num=2)]
    values = one(catalogue, instance(1, *items)).processes[0].values
    assert (values["timeout"], values["proc_num"]) == (10, 2)
    assert warned(catalogue, *items) == [("[0]", "template_repeated")]
    bad = [process(1, timeout=0), process(1)]
    assert one_process_of(catalogue, bad).values["timeout"] == 10


def one_process_of(catalogue, items):
    return one(catalogue, instance(1, *items)).processes[0]


@pytest.mark.rule(
    "A5", "process_template_id 0 or foreign in a bound module: the item is ignored", ours="with a warning"
)
@pytest.mark.parametrize("template_id", [0, 2, 2**63 - 1])
def test_item_of_no_template_is_ignored(template_id):
    catalogue = bound(template(1, timeout=free(10)))
    item = process(template_id, timeout=0, bind_info=[{"port": "x"}, {"port": "x"}])
    assert one_process(catalogue, item).values["timeout"] == 10
    assert warned(catalogue, item) == [("[0].process_template_id", "template_unmatched")]


@pytest.mark.rule("3.6", "step 6: a name is required where it is unlocked (templates older than 2020)")
def test_unlocked_name_may_be_overridden_but_not_emptied():
    catalogue = bound(template(1, bk_process_name=free("old")))
    assert one_process(catalogue, process(1, bk_process_name="new")).bk_process_name == "new"
    assert refusal(catalogue, process(1, bk_process_name="")) == (1199010, f"{PATH}.bk_process_name")


# 3.6: bind rows -----------------------------------------------------------------------------------------------------

MIXED = bound(
    template(
        1, bind(1, ip=locked("3"), port=locked("80"), protocol=free("1"), enable=free(True)), bind(2, port=free("81"))
    )
)


def mixed(*rows):
    return one_process(MIXED, process(1, bind_info=list(rows))).bind_info


FROM_TEMPLATE = ((1, "10.0.0.1", "80", "1", True), (2, "127.0.0.1", "81", "1", True))


@pytest.mark.rule("3.6", "bind_info absent, null or empty: all rows come from the template")
@pytest.mark.parametrize("info", [{}, {"bind_info": None}, {"bind_info": []}])
def test_no_rows_sent(info):
    assert one_process(MIXED, process(1, **info)).bind_info == FROM_TEMPLATE


@pytest.mark.rule(
    "3.6", "a caller's row is matched by template_row_id; one that matches nothing is dropped", ours="with a warning"
)
@pytest.mark.parametrize(
    "row_id", [{}, {"template_row_id": None}, *({"template_row_id": id_} for id_ in (0, -1, 3, 1234))]
)
def test_row_that_matches_nothing_is_ignored(row_id):
    row = {"ip": "not even", "port": "x", "protocol": "?", **row_id}
    assert mixed(row) == FROM_TEMPLATE
    assert warned(MIXED, process(1, bind_info=[row])) == [(f"{INFO}.bind_info[0]", "row_unmatched")]


@pytest.mark.rule("3.6", "a matched row: locked columns from the template, unlocked ones from the caller")
def test_matched_row_is_merged_by_column():
    row = {"template_row_id": 1, "ip": "1.2.3.4", "port": "9", "protocol": "2", "enable": False}
    assert mixed(row) == ((1, "10.0.0.1", "80", "2", False), FROM_TEMPLATE[1])
    assert warned(MIXED, process(1, bind_info=[row])) == [
        (f"{INFO}.bind_info[0].ip", "locked"),
        (f"{INFO}.bind_info[0].port", "locked"),
    ]


@pytest.mark.rule("3.6", "the order of the caller's rows does not matter")
def test_rows_keep_the_templates_order():
    rows = [{"template_row_id": 2, "port": "8081"}, {"template_row_id": 1, "enable": False}]
    assert mixed(*rows) == mixed(*reversed(rows))
    assert [row.template_row_id for row in mixed(*rows)] == [1, 2]


@pytest.mark.rule(
    "A21",
    "a matched row that leaves out an unlocked column: null, so port and protocol are refused",
    ours="the template's value",
)
@pytest.mark.parametrize(
    ("columns", "stored"),
    [
        ({}, (2, "127.0.0.1", "81", "1", True)),
        ({"ip": "1.2.3.4"}, (2, "1.2.3.4", "81", "1", True)),
        ({"port": "90-99"}, (2, "127.0.0.1", "90-99", "1", True)),
        ({"protocol": "2"}, (2, "127.0.0.1", "81", "2", True)),
        ({"enable": False}, (2, "127.0.0.1", "81", "1", False)),
    ],
)
def test_omitted_column_keeps_the_templates_value(columns, stored):
    assert mixed({"template_row_id": 2, **columns})[1] == stored


@pytest.mark.rule(
    "3.6",
    "an unlocked column that is null: ip and enable are stored, port and protocol refused",
    ours='ip is stored as "", enable as false',
)
def test_null_column_of_a_matched_row():
    assert mixed({"template_row_id": 2, "ip": None, "enable": None})[1] == (2, "", "81", "1", False)
    for column in ("port", "protocol"):
        row = {"template_row_id": 2, column: None}
        assert refusal(MIXED, process(1, bind_info=[row])) == (1199010, f"{PATH}.bind_info[0].{column}")


@pytest.mark.rule("3.6", "a template without rows has none, whatever the caller sends")
def test_template_without_rows_has_none():
    rows = [{"template_row_id": 1, "ip": "1.2.3.4", "port": "80", "protocol": "1"}]
    assert one_process(bound(template(1)), process(1, bind_info=rows)).bind_info == ()


def test_locked_columns_sent_as_they_are_are_no_difference():
    row = {"template_row_id": 1, "ip": "10.0.0.1", "port": "80"}
    assert warned(MIXED, process(1, bind_info=[row])) == []
    v6 = bound(template(1, bind(1, ip=locked("7"), protocol=free("3"))), host=Host(1, bk_host_innerip_v6="fd00::1"))
    sent = {"template_row_id": 1, "ip": "FD00:0::1"}
    assert warned(v6, process(1, bind_info=[sent])) == []


def test_protocol_that_does_not_fit_a_locked_address_is_the_callers_fault():
    row = {"template_row_id": 1, "protocol": "3"}
    assert refusal(MIXED, process(1, bind_info=[row])) == (1199006, f"{PATH}.bind_info[0].protocol")


def test_bad_value_of_a_locked_column_is_no_error():
    row = {"template_row_id": 1, "ip": "x", "port": "0"}
    assert mixed(row) == FROM_TEMPLATE


# Warnings -----------------------------------------------------------------------------------------------------------


def test_warnings_are_bounded():
    catalogue = bound(template(1, timeout=locked(10)))
    hundred = [process(0)] * 150
    found = warned(catalogue, *hundred)
    assert len(found) == 101
    assert found[99] == ("[99].process_template_id", "template_unmatched")
    assert found[100] == ("", "more")


def test_unbound_template_id_is_warned_about():
    item = process(7, bk_process_name="a", bk_func_name="a")
    assert warned(unbound(), item) == [("[0].process_template_id", "template_unused")]
