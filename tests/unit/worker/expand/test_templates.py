"""Process templates as CMDB shows them (3.3, template column of 3.1, 3.8)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.codes import Refused
from contract.request.batch import PROCESS_PROPERTIES
from tests.unit.worker.expand.builders import bound, free, instance, locked, plan, said, template
from worker.expand.catalogue import TemplateProperty
from worker.expand.templates import check_service_template, parse_process_template

NAMES = {
    "bk_process_name": {"value": "job_java", "as_default_value": True},
    "bk_func_name": {"value": "java", "as_default_value": True},
}
ROW = {
    "row_id": 1,
    "ip": {"value": "1", "as_default_value": True},
    "port": {"value": "80", "as_default_value": True},
    "protocol": {"value": "1", "as_default_value": False},
    "enable": {"value": True, "as_default_value": False},
}


def column(value, *, locked=False):
    return {"value": value, "as_default_value": locked}


def parsed(**columns):
    return parse_process_template(5, NAMES | columns)


def parsed_rows(*rows):
    return parsed(bind_info=column(list(rows))).bind_info


def refused(**columns):
    with pytest.raises(Refused) as caught:
        parsed(**columns)
    return said(caught.value)


def refused_row(**changes):
    code, path = refused(bind_info=column([ROW | changes]))
    return code, path.removeprefix("bind_info[0].")


@pytest.mark.rule("3.3", "a property is {value, as_default_value}; as_default_value true locks it")
def test_template_is_read():
    found = parsed(
        timeout=column(10),
        priority=column(5, locked=True),
        auto_start=column(True, locked=True),
        user={"value": "root"},
        description={"value": "x", "as_default_value": None},
        proc_num=None,
        create_time=column("2024"),
        bind_info=column([ROW], locked=True),
    )
    assert found.id == 5
    assert set(found.properties) == set(PROCESS_PROPERTIES)
    assert found.properties["timeout"] == TemplateProperty(10, locked=False)
    assert found.properties["priority"] == TemplateProperty(5, locked=True)
    assert found.properties["auto_start"] == TemplateProperty(value=True, locked=True)
    assert found.properties["user"] == TemplateProperty("root", locked=False)
    assert found.properties["description"] == TemplateProperty("x", locked=False)
    assert found.properties["proc_num"] == found.properties["pid_file"] == TemplateProperty(None, locked=False)
    (row,) = found.bind_info
    assert (row.row_id, row.ip, row.port) == (1, locked("1"), locked("80"))
    assert (row.protocol, row.enable) == (free("1"), free(value=True))


@pytest.mark.rule("3.1", "bk_process_name and bk_func_name of a template are always locked")
@pytest.mark.parametrize("flag", [False, None, True])
def test_names_are_always_locked(flag):
    found = parse_process_template(
        1, {name: {"value": "x", "as_default_value": flag} for name in ("bk_process_name", "bk_func_name")}
    )
    assert found.properties["bk_process_name"].locked
    assert found.properties["bk_func_name"].locked


@pytest.mark.rule("3.1", "bk_process_name and bk_func_name of a template are not empty: 1199006")
@pytest.mark.parametrize("name", ["bk_process_name", "bk_func_name"])
@pytest.mark.parametrize("nothing", [None, {}, {"value": None}, {"value": ""}, {"value": "  "}])
def test_names_are_required(name, nothing):
    assert refused(**{name: nothing}) == (1199006, name)


@pytest.mark.rule("3.1", "template ranges: proc_num and timeout 1..10000, priority -100..10000: 1199006")
@pytest.mark.rule("3.1", "bk_start_check_secs of a template: 1..10000, though an instance takes 0..600")
@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("proc_num", 1, 10_000),
        ("timeout", 1, 10_000),
        ("priority", -100, 10_000),
        ("bk_start_check_secs", 1, 10_000),
    ],
)
def test_int_has_a_range(name, low, high):
    for value in (low, high, None):
        assert parsed(**{name: column(value)}).properties[name].value == value
    for value in (low - 1, high + 1, 2**64):
        assert refused(**{name: column(value)}) == (1199006, name)


@pytest.mark.rule("3.1", "texts of a template have no limit; one too long fails at expansion (1108008)")
def test_text_has_no_limit():
    assert parsed(description=column("x" * 5000)).properties["description"].value == "x" * 5000


def test_text_is_trimmed():
    assert parsed(start_cmd=column(" run \n")).properties["start_cmd"].value == "run"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("timeout", "10"),
        ("timeout", True),
        ("timeout", 1.0),
        ("auto_start", 1),
        ("auto_start", "true"),
        ("user", 5),
        ("user", ["root"]),
        ("user", "a\x00b"),
        ("user", "\ud800"),
    ],
)
def test_value_of_another_type_is_refused(name, value):
    assert refused(**{name: column(value)}) == (1199006, name)


@pytest.mark.parametrize("broken", ["root", 5, [], ["value"], {"value": "root", "as_default_value": "yes"}])
def test_property_of_another_shape_is_refused(broken):
    assert refused(user=broken) == (1199006, "user")


# bind_info ----------------------------------------------------------------------------------------------------------


@pytest.mark.rule("3.3", "bind_info absent, null or without rows: no rows")
@pytest.mark.parametrize("column_", [None, {}, {"value": None}, {"value": []}])
def test_no_rows(column_):
    assert parsed(bind_info=column_).bind_info == ()


@pytest.mark.parametrize("broken", [{"value": {}}, {"value": "80"}, [ROW], {"value": [], "as_default_value": 1}])
def test_bind_info_of_another_shape_is_refused(broken):
    assert refused(bind_info=broken) == (1199006, "bind_info")


@pytest.mark.parametrize("row", [None, "80", 5, []])
def test_row_of_another_shape_is_refused(row):
    assert refused(bind_info=column([ROW, row])) == (1199006, "bind_info[1]")


@pytest.mark.rule("3.3", 'ip: "1" to "8", empty or null; anything else 1199006 bind_info[i].ip')
@pytest.mark.parametrize("ip", ["0", "9", "10", "127.0.0.1", "1 ", 1, True, ["1"]])
def test_ip_outside_the_enum_is_refused(ip):
    assert refused_row(ip=column(ip)) == (1199006, "ip")


@pytest.mark.rule("3.3", "port: required, with the template's grammar; else 1199006 bind_info[i].port")
@pytest.mark.parametrize("port", [None, "", "0", "80,", "80,80", "90-80", " 80", 80, ["80"]])
def test_port_is_required_and_checked(port):
    assert refused_row(port=column(port)) == (1199006, "port")
    assert refused_row(port=None) == (1199006, "port")


@pytest.mark.parametrize("port", ["80", "80-90", "80,443", "8080-8089,8199"])
def test_port_may_be_a_list(port):
    assert parsed_rows(ROW | {"port": column(port)})[0].port.value == port


@pytest.mark.rule("3.3", 'protocol: required, "1" to "4"; else 1199006 bind_info[i].protocol')
@pytest.mark.parametrize("protocol", [None, "", "0", "5", "tcp", 1])
def test_protocol_is_required_and_checked(protocol):
    assert refused_row(protocol=column(protocol)) == (1199006, "protocol")
    assert refused_row(protocol=None) == (1199006, "protocol")


@pytest.mark.rule("3.3", "ip 1-4 go with protocol 1/2, ip 5-8 with 3/4; no ip goes with all")
@pytest.mark.parametrize("ip", ["1", "2", "3", "4", "5", "6", "7", "8", "", None])
@pytest.mark.parametrize("protocol", ["1", "2", "3", "4"])
def test_ip_and_protocol_are_of_one_version(ip, protocol):
    row = ROW | {"ip": column(ip), "protocol": column(protocol)}
    if not ip or (ip in "1234") == (protocol in "12"):
        assert parsed_rows(row)[0].ip.value == ip
    else:
        assert refused(bind_info=column([row])) == (1199006, "bind_info[0].ip")


@pytest.mark.rule("3.3", "enable: a bool or nothing")
@pytest.mark.parametrize("enable", [None, {}, {"value": None}, {"value": True}, {"value": False}])
def test_enable_is_optional(enable):
    assert parsed_rows(ROW | {"enable": enable})[0].enable.value == (enable or {}).get("value")


@pytest.mark.parametrize("enable", [1, "true", []])
def test_enable_of_another_type_is_refused(enable):
    assert refused_row(enable=column(enable)) == (1199006, "enable")


@pytest.mark.rule(
    "3.3", "row_id absent or 0: the highest of the template plus 1, plus 2, in row order; a given one is kept"
)
@pytest.mark.parametrize(
    ("given", "assigned"),
    [([None], [1]), ([0, None, 0], [1, 2, 3]), ([5, 0, 3, None], [5, 6, 3, 7]), ([None, 1], [2, 1]), ([9, 4], [9, 4])],
)
def test_row_ids_are_assigned(given, assigned):
    rows = [ROW | {"row_id": id_} for id_ in given]
    assert [row.row_id for row in parsed_rows(*rows)] == assigned


@pytest.mark.rule("3.3", "a row_id that comes twice is accepted", ours="1199014: rows are told apart by it")
def test_row_id_twice_is_refused():
    rows = [ROW, ROW | {"row_id": 2}, ROW]
    assert refused(bind_info=column(rows)) == (1199014, "bind_info[2].row_id")


@pytest.mark.parametrize("row_id", [-1, "1", True, 1.0, 2**63])
def test_row_id_of_another_kind_is_refused(row_id):
    assert refused_row(row_id=row_id) == (1199006, "row_id")


def test_no_row_id_is_left_after_the_last_one():
    assert refused(bind_info=column([ROW | {"row_id": 2**63 - 1}, ROW | {"row_id": 0}])) == (
        1199006,
        "bind_info[1].row_id",
    )


# The service template -------------------------------------------------------------------------------------------------


@pytest.mark.rule("3.8", "the same bk_process_name twice in a service template: 1113019 with the name")
def test_same_name_is_refused():
    templates = [template(id_, bk_process_name=locked("same")) for id_ in (1, 2)]
    with pytest.raises(Refused) as caught:
        check_service_template(templates)
    assert said(caught.value) == (1113019, "bk_process_name")
    assert caught.value.message_args == ("same",)


@pytest.mark.rule("3.8", "the same function and start regex twice: 1113020 with both; a null regex is never the same")
@pytest.mark.parametrize(
    ("regexes", "fits"),
    [(("", ""), False), (("-c", "-c"), False), (("", "-c"), True), ((None, None), True), ((None, ""), True)],
)
def test_same_function_and_regex_are_refused(regexes, fits):
    templates = [
        parse_process_template(
            id_,
            {
                "bk_process_name": column(f"p{id_}"),
                "bk_func_name": column("java"),
                "bk_start_param_regex": column(regex),
            },
        )
        for id_, regex in enumerate(regexes)
    ]
    if fits:
        check_service_template(templates)
        return
    with pytest.raises(Refused) as caught:
        check_service_template(templates)
    assert said(caught.value) == (1113020, "bk_func_name")
    assert caught.value.message_args == ("java", regexes[0])


# Anything at all ------------------------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["value", "as_default_value", "row_id", "ip", "port", "protocol"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from([*PROCESS_PROPERTIES, "bind_info"]), JSON, max_size=6))
def test_any_json_is_read_or_refused(properties):
    try:
        found = parse_process_template(1, NAMES | properties)
    except Refused as refused_:
        problem: Refused | None = refused_
    else:
        problem = None
        expanded = plan(bound(found), instance(1))
        assert len(expanded.instances) + len(expanded.refused) == 1
    assert problem is None or (problem.path and problem.message())
