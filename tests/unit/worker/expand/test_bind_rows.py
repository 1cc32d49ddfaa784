"""Bind rows: a caller's own (3.2) and their ids, then what is checked wherever a row comes from."""

import pytest

from tests.unit.worker.expand.builders import (
    bind,
    bound,
    free,
    instance,
    locked,
    named,
    one,
    one_process,
    process,
    refusal,
    template,
    unbound,
)
from worker.expand.catalogue import Host

PATH = "instances[0].processes[0].process_info.bind_info"
ROW = {"ip": "127.0.0.1", "port": "80", "protocol": "1", "enable": True}


def rows(*given):
    return one_process(unbound(), named(bind_info=list(given))).bind_info


def unbound_refusal(*given):
    return refusal(unbound(), named(bind_info=list(given)))


def refused_in_both(changes):
    """Code and column with which a row is refused, sent to an unbound module or over an unlocked template row."""
    row = {**ROW, "template_row_id": 1, **changes}
    row = {name: value for name, value in row.items() if value != "ABSENT"}
    answers = {unbound_refusal(row), refusal(bound(template(1, bind(1))), process(1, bind_info=[row]))}
    (answer,) = answers
    code, path = answer
    return code, path.removeprefix(f"{PATH}[0].")


@pytest.mark.rule("3.2", "a row has ip, port, protocol, enable and template_row_id")
def test_row_is_stored_as_sent():
    assert rows({**ROW, "template_row_id": 1234}) == ((1234, "127.0.0.1", "80", "1", True),)


@pytest.mark.rule("A1", "bind_info is an array; anything else is an error", ours="a single object is one row")
def test_a_single_object_is_one_row():
    assert one_process(unbound(), named(bind_info=ROW)).bind_info == ((1, "127.0.0.1", "80", "1", True),)


@pytest.mark.rule("A1", "bind_info absent, null or empty: no rows")
@pytest.mark.parametrize("info", [{}, {"bind_info": None}, {"bind_info": []}])
def test_no_rows(info):
    assert one_process(unbound(), named(**info)).bind_info == ()


# Row ids ------------------------------------------------------------------------------------------------------------


@pytest.mark.rule(
    "A19",
    "unbound: template_row_id is stored as given, not checked",
    ours="kept when given; absent, null or 0 becomes the highest of the process plus 1, in row order",
)
@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ([None], [1]),
        ([None, None, None], [1, 2, 3]),
        ([0, 0], [1, 2]),
        ([5, None, 3, None], [5, 6, 3, 7]),
        ([None, 1], [2, 1]),
        ([1234], [1234]),
        ([2**63 - 1], [2**63 - 1]),
    ],
)
def test_row_ids_are_assigned(given, stored):
    sent = [{**ROW} if id_ is None else {**ROW, "template_row_id": id_} for id_ in given]
    assert [row.template_row_id for row in rows(*sent)] == stored
    assert [row.template_row_id for row in rows(*({**ROW, "template_row_id": id_} for id_ in given))] == stored


@pytest.mark.rule("A19", "a negative template_row_id is stored", ours="1199011")
def test_negative_row_id_is_refused():
    assert unbound_refusal(ROW, {**ROW, "template_row_id": -1}) == (1199011, f"{PATH}[1].template_row_id")


def test_no_row_id_is_left_after_the_last_one():
    assert unbound_refusal({**ROW, "template_row_id": 2**63 - 1}, ROW) == (1199011, f"{PATH}[1].template_row_id")


@pytest.mark.rule(
    "A19",
    "the same template_row_id twice in a process: unbound stored twice, bound the later one wins",
    ours='1199014: the documentation says "unique in process"',
)
def test_row_id_twice_is_refused():
    twice = [{**ROW, "template_row_id": id_} for id_ in (7, 8, 7)]
    assert unbound_refusal(*twice) == (1199014, f"{PATH}[2].template_row_id")
    catalogue = bound(template(1, bind(7)))
    assert refusal(catalogue, process(1, bind_info=twice)) == (1199014, f"{PATH}[2].template_row_id")


def test_the_same_row_id_in_two_processes_is_two_rows():
    items = [named(name, bind_info=[{**ROW, "template_row_id": 7}]) for name in "ab"]
    assert [item.bind_info[0].template_row_id for item in one(unbound(), instance(1, *items)).processes] == [7, 7]


# Columns ------------------------------------------------------------------------------------------------------------


@pytest.mark.rule("3.2", "port: one number or one range; anything else is refused")
@pytest.mark.parametrize("port", ["0", "65536", "080", "-80", "80-", ",", "80,", " 80", "8008,8443", "80-70", "http"])
def test_malformed_port_is_refused(port):
    assert refused_in_both({"port": port}) == (1199011, "port")


@pytest.mark.rule("A15", "a comma list in a caller's row is refused")
def test_list_of_ports_is_refused():
    assert refused_in_both({"port": "80,443"}) == (1199011, "port")


@pytest.mark.rule("3.2", "port and protocol that are null or empty: refused", ours="1199010")
@pytest.mark.parametrize("column", ["port", "protocol"])
@pytest.mark.parametrize("nothing", ["", None])
def test_empty_port_and_protocol_are_refused(column, nothing):
    assert refused_in_both({column: nothing}) == (1199010, column)


@pytest.mark.rule(
    "3.2", "unbound: an absent port or protocol is not noticed", ours="1199010: a row that says nothing is no row"
)
@pytest.mark.parametrize("column", ["port", "protocol"])
def test_absent_port_and_protocol_are_refused_when_unbound(column):
    row = {name: value for name, value in ROW.items() if name != column}
    assert unbound_refusal(row) == (1199010, f"{PATH}[0].{column}")


@pytest.mark.rule("A16", 'protocol is enum text: "1" TCP, "2" UDP, "3" TCP6, "4" UDP6; anything else is refused')
@pytest.mark.parametrize("protocol", ["0", "5", "tcp", "TCP", "11", " 1"])
def test_unknown_protocol_is_refused(protocol):
    assert refused_in_both({"protocol": protocol}) == (1199006, "protocol")


@pytest.mark.parametrize(("ip", "protocol"), [("1.2.3.4", "1"), ("1.2.3.4", "2"), ("fd00::1", "3"), ("fd00::1", "4")])
def test_protocols_of_the_address_are_stored(ip, protocol):
    ((_, stored_ip, _, stored_protocol, _),) = rows({**ROW, "ip": ip, "protocol": protocol})
    assert (stored_ip, stored_protocol) == (ip, protocol)


@pytest.mark.rule(
    "3.2", "instance: ip and protocol may be of different IP versions", ours="1199006: nothing can listen like that"
)
@pytest.mark.parametrize(("ip", "protocol"), [("1.2.3.4", "3"), ("1.2.3.4", "4"), ("::1", "1"), ("::1", "2")])
def test_protocol_of_another_ip_version_is_refused(ip, protocol):
    assert refused_in_both({"ip": ip, "protocol": protocol}) == (1199006, "ip")


@pytest.mark.rule("A17", "instance: an IPv4 or IPv6 literal; the template's enum is refused", ours="1199011")
@pytest.mark.parametrize("ip", ["1", "3", "8", "999.1.1.1", "127.1", " 1.1.1.1", "1.1.1.1\n", "fe80::1%eth0", "host"])
def test_malformed_ip_is_refused(ip):
    assert refused_in_both({"ip": ip}) == (1199011, "ip")


@pytest.mark.rule("3.2", "ip may be empty, null or absent", ours='stored as ""')
@pytest.mark.parametrize("row", [{"ip": ""}, {"ip": None}, {}])
@pytest.mark.parametrize("protocol", ["1", "2", "3", "4"])
def test_empty_ip_goes_with_every_protocol(row, protocol):
    assert rows({"port": "80", "protocol": protocol, **row}) == ((1, "", "80", protocol, False),)
    catalogue = bound(template(1, bind(1, ip=free(""), protocol=free(protocol))))
    sent = {"template_row_id": 1, "port": "81", **row}
    assert one_process(catalogue, process(1, bind_info=[sent])).bind_info[0].ip == ""


@pytest.mark.rule("A20", "enable absent: tolerated when unbound, refused when bound and unlocked", ours="false")
@pytest.mark.parametrize("row", [{"enable": False}, {"enable": None}, {}])
def test_enable_is_false_unless_true(row):
    assert rows({"port": "80", "protocol": "1", **row})[0].enable is False


# Rows of a template that no instance can have -------------------------------------------------------------------------


TEMPLATE_PATH = "instances[0].processes[process_template_id=1].process_info.bind_info[template_row_id=3]"


@pytest.mark.rule(
    "V19", "a template row without port or protocol: 1199006 with the text of 1107014/1107015", ours="1199006"
)
@pytest.mark.parametrize("column", ["port", "protocol"])
@pytest.mark.parametrize("nothing", ["", None])
def test_template_row_without_port_or_protocol_is_refused(column, nothing):
    catalogue = bound(template(1, bind(3, **{column: locked(nothing)})))
    assert refusal(catalogue) == (1199006, f"{TEMPLATE_PATH}.{column}")


@pytest.mark.rule("V20", "a template row that no instance can have, such as a list of ports: 1108008")
@pytest.mark.parametrize(
    ("columns", "column"),
    [
        ({"port": locked("80,443")}, "port"),
        ({"port": free("8080-8089,8199")}, "port"),
        ({"protocol": locked("9")}, "protocol"),
        ({"ip": locked("5")}, "ip"),
    ],
)
def test_template_row_that_no_instance_can_have_is_refused(columns, column):
    catalogue = bound(template(1, bind(3, **columns)))
    assert refusal(catalogue) == (1108008, f"{TEMPLATE_PATH}.{column}")
    assert refusal(catalogue, process(1, timeout=30)) == (1108008, f"{TEMPLATE_PATH}.{column}")


@pytest.mark.rule(
    "V20",
    "an unlocked list of ports fails even where the caller overrides it",
    ours="what would be stored is checked, so an override helps",
)
def test_override_helps_an_unfit_template_row():
    catalogue = bound(template(1, bind(3, port=free("80,443"))))
    (row,) = one_process(catalogue, process(1, bind_info=[{"template_row_id": 3, "port": "443"}])).bind_info
    assert row.port == "443"


def test_host_address_that_is_none_is_the_catalogues_fault():
    catalogue = bound(template(1, bind(3, ip=locked("3"))), host=Host(1, "not an address"))
    assert refusal(catalogue) == (1108008, f"{TEMPLATE_PATH}.ip")
