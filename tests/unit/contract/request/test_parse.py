"""What a caller's JSON becomes: a batch with warnings, or refusals in CMDB's order."""

import copy
import json

import pytest

from contract.codes import Reason
from contract.message import Caller, Payload
from contract.request.batch import ProcessInfo
from contract.request.parse import BatchRefused, parse
from devstack import sample
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

SEED = json.loads(sample.REQUEST.read_bytes())

# The documented example -----------------------------------------------------------------------------------------------


@pytest.mark.rule("A35", "the example is tagged python, and is JSON")
def test_documented_example_is_a_batch_and_its_server_owned_fields_are_listed() -> None:
    parsed = parse(SEED)
    assert (parsed.batch.bk_biz_id, parsed.batch.bk_module_id) == (1, 60)
    assert parsed.batch.instances == [(2, None, 0)]
    assert process(SEED)["process_template_id"] == 1
    assert process_info(SEED) == {
        "bk_process_name": "job_java",
        "bk_func_name": "java",
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
        "priority": 1,
        "auto_time_gap": 60,
        "bk_func_id": "",
        "bind_info": [{"template_row_id": 1234, "ip": "127.0.0.1", "port": "80", "protocol": "1", "enable": False}],
    }
    assert warnings(parsed) == [
        (f"{INFO}.bk_supplier_account", Reason.SERVER_OWNED),
        (f"{INFO}.port", Reason.REPLACED),
        (f"{INFO}.bk_biz_id", Reason.SERVER_OWNED),
        (f"{INFO}.bk_process_id", Reason.SERVER_OWNED),
    ]


@pytest.mark.rule("A36", "application, secret and token in the body say who calls, and go no further")
def test_credentials_are_neither_kept_nor_mentioned() -> None:
    parsed = parse({**SEED, "bk_app_secret": "CANARY", "bk_token": "CANARY", "access_token": "CANARY"})
    assert b"CANARY" not in parsed.batch.canonical()
    assert b"CANARY" not in Payload.write("0" * 32, parsed.batch, Caller())
    assert not any("bk_app" in path or "token" in path for path, _ in warnings(parsed))


def test_documented_example_in_strict_mode_is_refused_for_what_the_server_owns() -> None:
    assert refusals(SEED, strict=True) == [
        (1199006, f"{INFO}.{name}") for name in ("bk_supplier_account", "port", "bk_biz_id", "bk_process_id")
    ]


def test_strict_mode_may_be_asked_for_in_the_body_and_travels_with_the_batch() -> None:
    assert parse(body(), strict=True).batch.strict
    assert parse({**body(), "strict": True}).batch.strict
    assert not parse({**body(), "strict": False}).batch.strict
    assert refusals({**body(), "strict": True, "x": 1}) == [(1199006, "x")]
    assert refusals({**body(), "strict": "yes"}) == [(1199025, "strict")]


# Order of errors ------------------------------------------------------------------------------------------------------


def test_errors_come_in_the_order_of_cmdbs_checks() -> None:
    sent = {
        "instances": [
            {"service_instance_name": "x" * 257, "processes": [{"process_info": {"user": "\x00"}}]},
            {"bk_host_id": 3, "processes": [{"process_info": {"auto_start": 1}}]},
        ],
        "bk_biz_id": 0,
    }
    assert refusals(sent) == [
        (1199025, "instances[1].processes[0].process_info.auto_start"),
        (1199010, "bk_module_id"),
        (1199006, "bk_biz_id"),
        (1199010, "instances[0].bk_host_id"),
        (1199006, "instances[0].service_instance_name"),
        (1199006, f"{INFO}.user"),
    ]


def test_missing_instances_are_said_before_missing_ids() -> None:
    assert refusals({}) == [(1199010, "instances"), (1199010, "bk_module_id"), (1199010, "bk_biz_id")]


def test_no_refusal_shows_what_was_sent() -> None:
    sent = body_with_info(timeout="CANARY", user="CANARY\x00", bind_info="CANARY")
    sent["on_existing"] = "CANARY"
    with pytest.raises(BatchRefused) as caught:
        parse(sent)
    assert "CANARY" not in "".join(error.message() + error.message("zh") for error in caught.value.errors)
    assert caught.value.__cause__ is None


# Lenient reading ------------------------------------------------------------------------------------------------------


@pytest.mark.rule("A8", "properties are read from process_info only", ours="also from beside it; the nested one wins")
def test_properties_beside_process_info_are_read_and_nested_ones_win() -> None:
    beside = {"user": "outer", "timeout": 5, "bind_info": [{"port": "1"}]}
    sent = body_with_process(**beside, process_info={"user": "inner", "priority": None})
    info = process_info(sent)
    assert info == {
        "user": "inner",
        "timeout": 5,
        "priority": None,
        "bind_info": [{"port": "1"}],
    }
    assert warnings(parse(sent)) == [(f"{PROCESS}.user", Reason.NESTED_WINS)]


def test_beside_alone_makes_a_process_info_and_its_errors_are_found_where_they_are() -> None:
    assert process_info(body_with_process(user="root")) == {"user": "root"}
    assert refusals(body_with_process(bind_info=[{"port": 80}])) == [(1199007, f"{PROCESS}.bind_info[0].port")]


@pytest.mark.parametrize("sent", [body_with_process(), body_with_process(process_info=None)])
def test_process_info_that_was_not_sent_is_absent_and_an_empty_one_is_not(sent: object) -> None:
    assert process(sent) == {}
    assert process(body_with_info()) == {"process_info": {}}


@pytest.mark.rule("A1", "bind_info as an object is an error", ours="it is one row")
def test_single_object_as_bind_info_is_one_row() -> None:
    assert process_info(body_with_info(bind_info={"port": "80"})) == {"bind_info": [{"port": "80"}]}


@pytest.mark.rule("A22", "null on an unlocked property stores null, absent takes the template's value")
def test_null_and_absent_stay_apart_in_a_process_and_in_a_row() -> None:
    info: ProcessInfo = {"priority": None, "bind_info": [{"enable": None}]}
    assert process_info(body_with_info(**info)) == info


def test_null_equals_absent_in_the_skeleton() -> None:
    sent = body(processes=None, service_instance_name=None)
    assert parse(sent).batch == parse(body()).batch
    assert parse(body_with_process(process_template_id=None)).batch == parse(body_with_process()).batch


@pytest.mark.rule("2.5", "texts of a process are trimmed, columns of bind rows are not")
def test_texts_of_a_process_are_trimmed_and_nothing_else_is() -> None:
    info = process_info(body_with_info(bk_process_name=" \u3000java\u00a0\n", bind_info=[{"port": " 80"}]))
    assert info == {"bk_process_name": "java", "bind_info": [{"port": " 80"}]}
    assert parse(body(service_instance_name=" a ")).batch.instances == [(2, " a ", None)]


@pytest.mark.rule(
    "2.1",
    "unknown keys are ignored at every level",
    ours="listed in warnings, refused in strict mode; keys are matched exactly, CMDB ignores case",
)
@pytest.mark.parametrize(
    ("sent", "path"),
    [
        ({**body(), "metadata": {}}, "metadata"),
        (body(bk_hostid=1), "instances[0].bk_hostid"),
        (body_with_process(on=1), f"{PROCESS}.on"),
        (body_with_info(on=1), f"{INFO}.on"),
        (body_with_row(row_id=1), f"{INFO}.bind_info[0].row_id"),
    ],
    ids=["root", "instance", "process", "info", "row"],
)
def test_unknown_field_at_any_level_is_a_warning_or_a_strict_refusal(sent: object, path: str) -> None:
    assert warnings(parse(sent)) == [(path, Reason.UNKNOWN_FIELD)]
    assert refusals(sent, strict=True) == [(1199006, path)]


def test_warnings_are_bounded() -> None:
    parsed = parse(body_with_info(**{f"key_{number}": number for number in range(5000)}))
    assert len(parsed.warnings) == 101
    assert warnings(parsed)[-1] == ("", Reason.MORE)


@pytest.mark.parametrize("key", ["", "x" * 65, "\x1b[31m", "\ud800", "a\nb"], ids=ascii)
def test_key_that_no_log_should_see_is_not_shown(key: str) -> None:
    assert warnings(parse({**body(), key: 1})) == [("?", Reason.UNKNOWN_FIELD)]


def test_body_is_not_changed() -> None:
    sent = copy.deepcopy(SEED)
    parse(sent)
    assert sent == SEED
