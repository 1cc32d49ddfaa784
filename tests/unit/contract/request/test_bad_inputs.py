"""Every bad input that needs no database to be recognised, and those that are left to the worker."""

import tracemalloc
from typing import Any

import pytest

from contract.codes import Code, Reason, Refused
from contract.request.batch import MAX_ROWS, ServiceInstanceBatch
from contract.request.idempotency import parse_idempotency_key
from contract.request.parse import BatchRefused, parse
from tests.unit.contract.request.bodies import (
    INFO,
    PROCESS,
    body,
    body_with_info,
    body_with_process,
    body_with_row,
    process,
    process_info,
    refusals,
    warnings,
)

TWO_HOSTS = [{"bk_host_id": 2}, {"bk_host_id": 2}]
BAD_INPUTS = [
    pytest.param([], [(1199006, "$")], id="3-array-as-body"),
    pytest.param({**body(), "bk_biz_id": 2**63}, [(1199009, "bk_biz_id")], id="10-beyond-int64"),
    pytest.param({**body(), "bk_biz_id": -(2**63) - 1}, [(1199009, "bk_biz_id")], id="10-below-int64"),
    pytest.param(body(bk_host_id=True), [(1199009, "instances[0].bk_host_id")], id="11-true-as-int"),
    pytest.param(body_with_info(proc_num=1.0), [(1199009, f"{INFO}.proc_num")], id="12-fraction-as-int"),
    pytest.param(body_with_info(auto_start="yes"), [(1199025, f"{INFO}.auto_start")], id="14-yes-as-bool"),
    pytest.param(body(bk_host_id=0), [(1199006, "instances[0].bk_host_id")], id="15-zero-host"),
    pytest.param(
        body_with_process(process_template_id=-1), [(1199006, f"{PROCESS}.process_template_id")], id="15-template"
    ),
    pytest.param(body_with_info(user="a\x00b"), [(1199006, f"{INFO}.user")], id="16-nul"),
    pytest.param({**body(), "instances": [5] * 200_000}, [(1199035, "instances")], id="28-many-bad-items"),
    pytest.param({**body(), "instances": []}, [(1199010, "instances")], id="31-no-instances"),
    pytest.param({**body(), "instances": TWO_HOSTS * 51}, [(1199035, "instances")], id="32-over-100"),
    pytest.param({**body(), "instances": {}}, [(1199006, "instances")], id="34-object-as-instances"),
    pytest.param({**body(), "instances": "x"}, [(1199006, "instances")], id="34-text-as-instances"),
    pytest.param(body_with_row(port=80), [(1199007, f"{INFO}.bind_info[0].port")], id="56-port-as-number"),
]
# What only the worker can judge, because it depends on the module, the template or the rows that exist.
LEFT_TO_THE_WORKER = [
    pytest.param(body_with_info(start_cmd="x" * 3_900_000), id="29-long-text"),
    pytest.param({**body(), "instances": TWO_HOSTS}, id="35-same-host-twice"),
    pytest.param(body_with_info(bind_info=[{"template_row_id": 1}] * 2), id="37-same-row-twice"),
    pytest.param(body_with_row(template_row_id=-1), id="42-negative-row"),
    pytest.param(body_with_process(process_template_id=7), id="43-foreign-template"),
    pytest.param(body_with_row(port="65536"), id="51-port-out-of-range"),
    pytest.param(body_with_row(port="8008,8443"), id="52-port-list"),
    pytest.param(body_with_row(port="," * 1_000_000), id="57-long-port"),
    pytest.param(body_with_row(ip="127.1"), id="58-odd-address"),
    pytest.param(body_with_row(ip="::1", protocol="1"), id="61-other-family"),
    pytest.param(body_with_row(ip=None), id="62-null-address"),
    pytest.param(body_with_info(start_cmd="'; DROP TABLE process; {{7*7}} %s"), id="67-injection"),
    pytest.param(body_with_info(timeout=10**9, priority=-(10**9)), id="69-out-of-range"),
]


@pytest.mark.parametrize(("sent", "expected"), BAD_INPUTS)
def test_bad_input_is_refused(sent: object, expected: list[tuple[int, str]]) -> None:
    assert refusals(sent) == expected


def as_sent(batch: ServiceInstanceBatch) -> dict[str, Any]:
    """The body that a batch was made of, if it was written without a word too many."""
    instances = [
        {"bk_host_id": host} | ({} if place is None else {"processes": batch.asked(place)})
        for host, _, place in batch.instances
    ]
    return {"bk_biz_id": batch.bk_biz_id, "bk_module_id": batch.bk_module_id, "instances": instances}


@pytest.mark.parametrize("sent", LEFT_TO_THE_WORKER)
def test_input_that_only_the_worker_can_judge_is_accepted_as_sent(sent: dict[str, Any]) -> None:
    parsed = parse(sent)
    assert as_sent(parsed.batch) == sent
    assert parsed.warnings == ()


@pytest.mark.rule("A12", "bk_process_id in the input is ignored: ids come from the sequence")
@pytest.mark.rule(
    "A10",
    "bk_supplier_account, bk_biz_id and bk_process_id inside a process are the server's",
    ours="listed in warnings",
)
@pytest.mark.parametrize("name", ["bk_biz_id", "bk_process_id", "bk_supplier_account", "service_instance_id"])
def test_field_of_the_server_is_ignored_whatever_its_value(name: str) -> None:
    for sent, path in ((body_with_info(**{name: "x"}), INFO), (body_with_process(**{name: 2}, user=""), PROCESS)):
        parsed = parse(sent)
        assert warnings(parsed) == [(f"{path}.{name}", Reason.SERVER_OWNED)]
        assert name not in str(parsed.batch.processes)


@pytest.mark.rule(
    "V1",
    "the body is no JSON of the expected shape: 1199000",
    ours="a wrong shape is 1199006 with the path, a wrong type 1199007/1199009/1199025",
)
@pytest.mark.parametrize("sent", [None, [], 5, "x", True], ids=repr)
def test_body_that_is_no_object_is_refused_at_the_root(sent: object) -> None:
    assert refusals(sent) == [(1199006, "$")]


@pytest.mark.parametrize("bad", [2**63, 2**64, -(2**63) - 1, True, False, 1.0, 1e2, 1.5, "1", "", [1], {}], ids=repr)
@pytest.mark.parametrize("field", ["bk_biz_id", "bk_module_id"])
def test_id_that_is_no_64_bit_integer_is_1199009(field: str, bad: object) -> None:
    assert refusals({**body(), field: bad}) == [(1199009, field)]


@pytest.mark.rule("A24", "a number as text is no number")
@pytest.mark.parametrize("bad", [2**63, True, 1.0, "1"], ids=repr)
@pytest.mark.parametrize(
    ("make", "path"),
    [
        (lambda bad: body(bk_host_id=bad), "instances[0].bk_host_id"),
        (lambda bad: body_with_process(process_template_id=bad), f"{PROCESS}.process_template_id"),
        (lambda bad: body_with_info(timeout=bad), f"{INFO}.timeout"),
        (lambda bad: body_with_process(timeout=bad), f"{PROCESS}.timeout"),
        (lambda bad: body_with_row(template_row_id=bad), f"{INFO}.bind_info[0].template_row_id"),
    ],
    ids=["host", "template", "nested", "beside", "row"],
)
def test_inner_integer_of_another_type_is_1199009(make: Any, path: str, bad: object) -> None:
    assert refusals(make(bad)) == [(1199009, path)]


@pytest.mark.parametrize("bad", ["yes", 1, "true", 0, 1.0, []], ids=repr)
def test_boolean_of_another_type_is_1199025(bad: object) -> None:
    assert refusals(body_with_info(auto_start=bad)) == [(1199025, f"{INFO}.auto_start")]
    assert refusals(body_with_row(enable=bad)) == [(1199025, f"{INFO}.bind_info[0].enable")]


@pytest.mark.parametrize("bad", [80, True, 1.5, [], {}], ids=repr)
def test_text_of_another_type_is_1199007(bad: object) -> None:
    assert refusals(body_with_info(user=bad)) == [(1199007, f"{INFO}.user")]
    assert refusals(body_with_row(port=bad)) == [(1199007, f"{INFO}.bind_info[0].port")]
    assert refusals(body(service_instance_name=bad)) == [(1199007, "instances[0].service_instance_name")]


@pytest.mark.parametrize("bad", [0, -0, -1, -(2**63)], ids=repr)
def test_id_of_zero_or_less_is_1199006(bad: int) -> None:
    assert refusals({**body(), "bk_module_id": bad}) == [(1199006, "bk_module_id")]
    assert refusals(body(bk_host_id=bad)) == [(1199006, "instances[0].bk_host_id")]


@pytest.mark.rule("A5", "process_template_id absent counts as 0", ours="a negative one is 1199006")
def test_process_template_id_may_be_zero_or_absent_but_not_negative() -> None:
    assert process(body_with_process(process_template_id=0)) == {"process_template_id": 0}
    assert process(body_with_process()) == {}
    assert refusals(body_with_process(process_template_id=-1)) == [(1199006, f"{PROCESS}.process_template_id")]


@pytest.mark.parametrize("bad", ["a\x00b", "\x00", "\ud800", "a\udfffb"], ids=ascii)
def test_text_that_cannot_be_stored_is_1199006(bad: str) -> None:
    assert refusals(body_with_info(start_cmd=bad)) == [(1199006, f"{INFO}.start_cmd")]
    assert refusals(body_with_row(ip=bad)) == [(1199006, f"{INFO}.bind_info[0].ip")]
    assert refusals(body(service_instance_name=bad)) == [(1199006, "instances[0].service_instance_name")]


def test_200_000_bad_items_are_counted_and_not_looked_at() -> None:
    class Unread(list[Any]):
        def __iter__(self) -> Any:
            raise AssertionError("the items were looked at")

    assert refusals({**body(), "instances": Unread([{"bk_host_id": "x"}] * 200_000)}) == [(1199035, "instances")]


def test_more_errors_than_twenty_are_not_listed() -> None:
    sent = {**body(), "instances": [{"bk_host_id": "x", "processes": 5}] * 100}
    found = refusals(sent)
    assert len(found) == 20
    assert found[:2] == [(1199006, "instances[0].processes"), (1199009, "instances[0].bk_host_id")]


def test_more_rows_than_fit_in_a_request_are_refused() -> None:
    assert refusals(body(processes=[{}] * (MAX_ROWS + 1))) == [(1199035, "instances")]
    assert refusals(body_with_info(bind_info=[{}] * MAX_ROWS)) == [(1199035, "instances")]
    assert parse(body_with_info(bind_info=[{}] * (MAX_ROWS - 1))).batch.instances


@pytest.mark.parametrize(
    "processes", [[{}] * 500_000, [{"process_info": {"bind_info": [{}] * 500_000}}]], ids=["processes", "bind rows"]
)
def test_too_many_rows_are_refused_before_they_become_objects(processes: list[dict[str, Any]]) -> None:
    sent = body(processes=processes)
    tracemalloc.start()
    try:
        assert refusals(sent) == [(1199035, "instances")]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 200_000_000  # orjson reserves 133 MB to write them; as objects they would be 377


@pytest.mark.rule(
    "A3", "instances missing or empty: 1199010 naming service_instance_ids", ours="1199010 naming instances"
)
@pytest.mark.rule(
    "V2", "no instances: 1199010", ours="the argument is instances, not the misleading service_instance_ids"
)
@pytest.mark.parametrize("empty", [[], None], ids=repr)
def test_no_instances_is_1199010(empty: object) -> None:
    assert refusals({**body(), "instances": empty}) == [(1199010, "instances")]


@pytest.mark.rule("V3", 'more than 100 instances: 1199035 ("create service instances", 100)')
@pytest.mark.bad_input(33, "exactly 100 instances, exactly one", "taken")
def test_101_instances_are_1199035_and_100_or_1_are_not() -> None:
    hosts = [{"bk_host_id": host} for host in range(1, 102)]
    with pytest.raises(BatchRefused) as caught:
        parse({**body(), "instances": hosts})
    (error,) = caught.value.errors
    assert (error.code, error.message_args) == (Code.TOO_MANY, ("create service instances", 100))
    assert len(parse({**body(), "instances": hosts[:100]}).batch.instances) == 100
    assert len(parse({**body(), "instances": hosts[:1]}).batch.instances) == 1


@pytest.mark.parametrize("bad", [{}, "x", 5, True, {"0": {}}], ids=repr)
def test_shape_that_is_no_array_of_objects_is_1199006(bad: object) -> None:
    assert refusals({**body(), "instances": bad}) == [(1199006, "instances")]
    assert refusals(body(processes=bad)) == [(1199006, "instances[0].processes")]
    assert refusals({**body(), "instances": [5]}) == [(1199006, "instances[0]")]
    assert refusals(body(processes=[None])) == [(1199006, PROCESS)]


@pytest.mark.parametrize("bad", [[], "x", 5, False], ids=repr)
def test_process_info_that_is_no_object_is_1199006(bad: object) -> None:
    assert refusals(body_with_process(process_info=bad)) == [(1199006, INFO)]


@pytest.mark.rule(
    "A1", "bind_info is an array: else 1199011 or 1199000", ours="1199006, and a single object is one row"
)
@pytest.mark.parametrize("bad", ["x", 5, True], ids=repr)
def test_bind_info_that_is_neither_array_nor_object_is_1199006(bad: object) -> None:
    assert refusals(body_with_info(bind_info=bad)) == [(1199006, f"{INFO}.bind_info")]
    assert refusals(body_with_info(bind_info=[bad])) == [(1199006, f"{INFO}.bind_info[0]")]


@pytest.mark.rule("A38", "a missing bk_biz_id or bk_module_id counts as 0", ours="1199010 with the field")
@pytest.mark.parametrize("field", ["bk_biz_id", "bk_module_id"])
@pytest.mark.parametrize("absent", [True, False])
def test_missing_or_null_id_is_1199010(field: str, absent: bool) -> None:
    sent = {**body(), field: None}
    if absent:
        del sent[field]
    assert refusals(sent) == [(1199010, field)]


def test_missing_host_is_1199010() -> None:
    assert refusals({**body(), "instances": [{}]}) == [(1199010, "instances[0].bk_host_id")]


@pytest.mark.rule(
    "V10", "service_instance_name longer than 256 bytes: 1199006", ours="found before the module is looked up"
)
def test_name_is_measured_in_bytes() -> None:
    assert parse(body(service_instance_name="名" * 85 + "x")).batch.instances[0][1]
    assert refusals(body(service_instance_name="名" * 85 + "xx")) == [(1199006, "instances[0].service_instance_name")]


@pytest.mark.rule("A23", "a bad value of a locked field is no error")
def test_values_are_not_judged_because_the_template_may_lock_them() -> None:
    row = {"ip": "999.1.1.1", "port": "0", "protocol": "tcp", "template_row_id": -1}
    sent = body_with_info(timeout=-5, proc_num=10**9, user="x" * 5000, bk_process_name="", bind_info=[row, row])
    assert process_info(sent)["timeout"] == -5


def test_hostile_text_is_kept_as_it_is() -> None:
    hostile = "$(rm -rf /) '; DROP TABLE process; -- {{7*7}} %s {0} \u202e"
    assert process_info(body_with_info(start_cmd=hostile)) == {"start_cmd": hostile}


@pytest.mark.parametrize(
    ("field", "bad", "code"),
    [
        ("on_existing", "replace", 1199006),
        ("on_existing", 1, 1199007),
        ("mode", "ATOMIC", 1199006),
        ("mode", [], 1199007),
        ("client_request_id", "", 1199006),
        ("client_request_id", "two words", 1199006),
        ("client_request_id", "ключ", 1199006),
        ("client_request_id", "x" * 256, 1199006),
        ("client_request_id", "x\n", 1199006),
        ("client_request_id", 7, 1199007),
    ],
)
def test_option_that_is_none_is_refused(field: str, bad: object, code: int) -> None:
    assert refusals({**body(), field: bad}) == [(code, field)]


def test_options_are_read_from_the_body() -> None:
    parsed = parse({**body(), "on_existing": "fail", "mode": "partial", "client_request_id": "a-1"})
    assert (parsed.batch.on_existing, parsed.batch.mode, parsed.client_request_id) == ("fail", "partial", "a-1")
    parsed = parse({**body(), "on_existing": None, "mode": None, "client_request_id": None})
    assert (parsed.batch.on_existing, parsed.batch.mode, parsed.client_request_id) == ("reuse", "atomic", None)


def test_idempotency_key_is_checked_under_the_name_it_came_with() -> None:
    assert parse_idempotency_key("x" * 255, "Idempotency-Key") == "x" * 255
    with pytest.raises(Refused) as caught:
        parse_idempotency_key("", "Idempotency-Key")
    assert (caught.value.code, caught.value.path) == (Code.PARAM_INVALID, "Idempotency-Key")
