"""Reports: built from outcomes, stored once, shown to compat and v1 callers in two languages."""

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from contract.answer.document import item_document, report_document, warning_document
from contract.answer.report import About, Report
from contract.answer.status import (
    Item,
    Outcome,
    Problem,
    ProcessItem,
    Statistics,
    Status,
    Warning_,
    failed_item,
    process_item,
    repeated_item,
)
from contract.codes import Code, Reason, Refused

SIX = ["result", "code", "message", "permission", "request_id", "data"]
REQUEST_ID = "e43da4ef221746868dc4c837d36f3807"
ABOUT: About = {
    "request_id": REQUEST_ID,
    "bk_app_code": "app",
    "bk_biz_id": 1,
    "bk_module_id": 60,
    "created_at": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    "finished_at": datetime(2026, 1, 2, 3, 4, 6, tzinfo=UTC),
    "attempts": 1,
    "warnings": (Warning_(path="later", reason=Reason.UNKNOWN_FIELD),),
}
ELSEWHERE = Refused(Code.HOST_NOT_IN_MODULE, [7, 8], path="instances[1].bk_host_id")


def created(index: int, service_instance_id: int = 53) -> Item:
    return Item(
        index=index,
        bk_host_id=index + 1,
        outcome=Outcome.CREATED,
        service_instance_id=service_instance_id,
        processes=[process_item(Outcome.CREATED, 1, "java", 9)],
    )


def report_of(status: Status) -> Report:
    match status:
        case Status.PENDING | Status.RUNNING:
            return Report.pending(2, running=status is Status.RUNNING, **ABOUT)
        case Status.SUCCESS:
            return Report.settled([created(1, 54), created(0, 53)], **ABOUT)
        case Status.FAILED:
            return Report.refused({1: ELSEWHERE}, [1, 2], **ABOUT)
        case Status.PART_FAILED:
            return Report.settled([created(0), failed_item(1, 2, ELSEWHERE)], **ABOUT)
        case Status.TERMINATED:
            return Report.failed(Refused(Code.CANCELLED), [1, 2], **ABOUT)


@pytest.mark.parametrize("status", Status)
def test_report_of_every_status_is_stored_and_loaded_unchanged(status: Status) -> None:
    report = report_of(status)
    assert report.status is status
    stored = report.dump()
    assert list(json.loads(stored))[:6] == SIX
    assert Report.load(stored) == report
    assert report_document(Report.load(stored), "zh") == report_document(report, "zh")


def test_stored_form_is_what_earlier_versions_wrote() -> None:
    about: About = {**ABOUT, "expires_at": datetime(2026, 1, 2, 3, 4, 6, 500_000, tzinfo=timezone(timedelta(hours=8)))}
    report = Report.settled([created(0), failed_item(1, 2, ELSEWHERE), repeated_item(created(2), 3)], **about)
    assert report.dump().decode() == (
        '{"result":false,"code":1190011,"message":"Some instances could not be created; see the items",'
        '"permission":null,"request_id":"e43da4ef221746868dc4c837d36f3807","data":null,"bk_app_code":"app",'
        '"bk_biz_id":1,"bk_module_id":60,"status":"PART_FAILED","errors":[{"code":1110056,"message_args":[[7,8]],'
        '"path":"instances[1].bk_host_id"}],"statistics":{"total_count":3,"success_count":2,"failed_count":1},'
        '"items":[{"index":0,"bk_host_id":1,"outcome":"created","service_instance_id":53,"processes":'
        '[{"bk_process_id":9,"process_template_id":1,"bk_process_name":"java","outcome":"created"}]},'
        '{"code":1110056,"message_args":[[7,8]],"path":"instances[1].bk_host_id","index":1,"bk_host_id":2,'
        '"outcome":"failed"},{"index":3,"bk_host_id":3,"outcome":"existing","service_instance_id":53,"processes":'
        '[{"bk_process_id":9,"process_template_id":1,"bk_process_name":"java","outcome":"existing"}],"warnings":'
        '[{"path":"instances[3]","reason":"duplicate_in_request"}]}],"warnings":[{"path":"later",'
        '"reason":"unknown_field"}],"created_at":"2026-01-02T03:04:05Z","finished_at":"2026-01-02T03:04:06Z",'
        '"expires_at":"2026-01-02T03:04:06.500000+08:00","attempts":1}'
    )


PROCESS_ITEMS = st.builds(
    process_item,
    st.sampled_from(Outcome),
    st.integers(0, 2),
    st.none() | st.text(max_size=5),
    st.none() | st.integers(0, 2**63 - 1),
)


def in_order(item: dict[str, Any]) -> Item:
    """With its keys as all items have them, which Hypothesis mixes up."""
    return cast("Item", {name: item[name] for name in Item.__annotations__ if name in item})


ITEMS = st.fixed_dictionaries(
    {"index": st.integers(0, 99), "bk_host_id": st.integers(1, 2**63 - 1), "outcome": st.sampled_from(Outcome)},
    optional={
        "service_instance_id": st.integers(1, 2**63 - 1),
        "processes": st.lists(PROCESS_ITEMS, max_size=3),
        "warnings": st.lists(st.builds(Warning_, path=st.text(max_size=5), reason=st.text(max_size=5)), max_size=2),
    },
).map(in_order) | st.builds(
    failed_item, st.integers(0, 99), st.integers(1, 9), st.just(ELSEWHERE), outcome=st.sampled_from(Outcome)
)
TIMES = st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=8)), timezone(timedelta(minutes=-90))]))
REPORTS = st.builds(
    Report,
    code=st.sampled_from([int(code) for code in Code]),
    message_args=st.lists(st.integers() | st.text(max_size=3), max_size=2),
    path=st.sampled_from(["", "bk_module_id"]),
    request_id=st.just(REQUEST_ID),
    bk_app_code=st.text(max_size=3),
    bk_biz_id=st.integers(1, 9),
    bk_module_id=st.integers(1, 9),
    status=st.sampled_from(Status),
    errors=st.lists(st.just(Problem.of(ELSEWHERE)), max_size=2),
    data=st.none() | st.lists(st.integers(1, 9), max_size=3),
    items=st.lists(ITEMS, max_size=3).map(tuple),
    created_at=TIMES,
    finished_at=st.none() | TIMES,
    expires_at=st.none() | TIMES,
    attempts=st.integers(0, 2),
    preview=st.none() | st.just(({"index": 0, "processes": [{"timeout": None}]},)),
)


@given(REPORTS)
def test_stored_form_is_the_models_own_behind_the_six_keys(report: Report) -> None:
    in_both = {"code", "permission", "request_id", "data"}
    stored = report.dump()
    written = json.loads(stored)
    assert list(written)[:6] == SIX
    of_the_model = report.model_dump_json(exclude=in_both, exclude_defaults=True)
    assert stored.decode().endswith("," + of_the_model[1:])
    if report.status is Status.SUCCESS:
        again = Report.load(stored)
        assert again == report
        assert again.dump() == stored


@pytest.mark.parametrize("status", Status)
def test_document_starts_with_the_six_keys_and_is_plain_json(status: Status) -> None:
    document = report_document(report_of(status))
    assert list(document)[:6] == SIX
    assert json.loads(json.dumps(document)) == document
    added = [
        "status",
        "statistics",
        "items",
        "warnings",
        "errors",
        "created_at",
        "finished_at",
        "expires_at",
        "attempts",
    ]
    assert list(document)[6:15] == added
    assert document["statistics"]["total_count"] == 2


def test_envelope_of_a_success_is_the_documented_one() -> None:
    assert report_of(Status.SUCCESS).envelope() == {
        "result": True,
        "code": 0,
        "message": "success",
        "permission": None,
        "request_id": REQUEST_ID,
        "data": [53, 54],
    }


@pytest.mark.parametrize("status", [status for status in Status if status is not Status.SUCCESS])
def test_envelope_is_true_for_nothing_but_a_success(status: Status) -> None:
    envelope = report_of(status).envelope()
    assert (envelope["result"], envelope["data"]) == (False, None)
    assert envelope["code"] != 0


@pytest.mark.parametrize("status", [Status.PENDING, Status.RUNNING])
def test_unfinished_request_is_1190001_to_a_compat_caller_and_0_to_v1(status: Status) -> None:
    report = report_of(status)
    assert report.envelope()["code"] == 1190001
    document = report_document(report)
    assert (document["result"], document["code"], document["data"]) == (True, 0, None)
    assert document["message"] == "Accepted, still running; poll this request_id"


def test_atomic_failure_blames_the_lowest_index_and_skips_the_others() -> None:
    other = Refused(Code.INSTANCE_EXISTS, "10.0.0.3", path="instances[2].bk_host_id")
    report = Report.refused({2: other, 1: ELSEWHERE}, [1, 2, 3], **ABOUT)
    assert (report.status, report.code) == (Status.FAILED, 1110056)
    assert report.envelope("zh")["message"] == "以下主机不在目标模块中：7, 8（instances[1].bk_host_id）"
    assert [(item["outcome"], item["code"]) for item in report.items] == [
        (Outcome.SKIPPED, 1110056),
        (Outcome.FAILED, 1110056),
        (Outcome.FAILED, 1113016),
    ]
    assert [error["code"] for error in report_document(report)["errors"]] == [1110056, 1113016]
    assert report.statistics == Statistics(total_count=3, failed_count=3)


def test_more_than_twenty_errors_are_not_listed() -> None:
    report = Report.refused(dict.fromkeys(range(100), ELSEWHERE), range(1, 101), **ABOUT)
    assert len(report.errors) == 20
    assert len(report.items) == 100


def test_whole_request_that_fails_fails_every_instance() -> None:
    report = Report.failed(Refused(Code.MODULE_NOT_FOUND, path="bk_module_id"), [1, 2], **ABOUT)
    assert [(item["bk_host_id"], item["outcome"], item["code"]) for item in report.items] == [
        (1, Outcome.FAILED, 1101034),
        (2, Outcome.FAILED, 1101034),
    ]
    assert report.envelope()["message"] == "No such module (bk_module_id)"


def test_dead_request_whose_instances_nobody_knows_still_adds_up() -> None:
    report = Report.failed(Refused(Code.DEAD_LETTER), count=7, **ABOUT)
    assert report.items == ()
    assert report.statistics == Statistics(total_count=7, failed_count=7)


def test_missing_permission_is_shown_in_the_envelope() -> None:
    permission = {"system_id": "bk_cmdb", "actions": []}
    report = Report.failed(Refused(Code.NO_PERMISSION), [1], permission=permission, **ABOUT)
    assert Report.load(report.dump()).envelope()["permission"] == permission


def test_partial_success_carries_cmdbs_index_maps_beside_a_null_data() -> None:
    document = report_document(report_of(Status.PART_FAILED))
    assert (document["result"], document["code"], document["data"]) == (False, 1190011, None)
    assert document["success_created"] == {"0": 53}
    assert document["error_msg"] == {"1": "These hosts are not in the module: 7, 8 (instances[1].bk_host_id)"}
    assert "success_created" not in report_document(report_of(Status.SUCCESS))


def test_instance_that_is_asked_for_twice_has_one_id() -> None:
    first = created(0)
    report = Report.settled([first, repeated_item(first, 1)], **ABOUT)
    assert report.data == [53, 53]
    assert [item["outcome"] for item in report.items] == [Outcome.CREATED, Outcome.EXISTING]
    assert report.items[1]["processes"][0]["outcome"] is Outcome.EXISTING
    assert report_document(report, "zh")["items"][1]["warnings"] == [
        {
            "path": "instances[1]",
            "reason": "duplicate_in_request",
            "message": "与本请求中前面的实例相同，两者 ID 一致",
        }
    ]


def test_item_is_rendered_in_the_readers_language() -> None:
    document = report_document(report_of(Status.FAILED), "zh")
    assert document["items"][1] == {
        "index": 1,
        "bk_host_id": 2,
        "outcome": "failed",
        "service_instance_id": None,
        "processes": [],
        "path": "instances[1].bk_host_id",
        "code": 1110056,
        "message": "以下主机不在目标模块中：7, 8（instances[1].bk_host_id）",
        "warnings": [],
    }
    assert document["warnings"] == [{"path": "later", "reason": "unknown_field", "message": "不是本接口的字段，已忽略"}]


def test_reason_of_ones_own_is_its_own_message() -> None:
    warning = warning_document({"path": "x", "reason": "something else"}, "zh")
    assert warning == {"path": "x", "reason": "something else", "message": "something else"}


OUTCOMES = st.lists(st.sampled_from(Outcome), max_size=8)


@given(OUTCOMES, st.sampled_from(Status), st.integers(0, 5))
def test_statistics_always_add_up(outcomes: list[Outcome], status: Status, unknown: int) -> None:
    items = [Item(index=index, bk_host_id=1, outcome=outcome) for index, outcome in enumerate(outcomes)]
    counted = Statistics.of(items, status, len(items) + unknown)
    parts = (counted.success_count, counted.failed_count, counted.pending_count, counted.running_count)
    assert counted.total_count == sum(parts) == len(items) + unknown


def test_counters_that_do_not_add_up_are_refused() -> None:
    with pytest.raises(ValueError, match="do not add up"):
        Statistics(total_count=2, success_count=1)
    stored = Report.failed(Refused(Code.UNKNOWN), [1], **ABOUT).dump()
    with pytest.raises(ValidationError):
        Report.load(stored.replace(b'"failed_count":1', b'"failed_count":2'))


@given(
    st.lists(st.text() | st.integers() | st.none() | st.floats(allow_nan=False) | st.lists(st.integers()), max_size=3)
)
def test_any_argument_of_a_refusal_can_be_stored(args: list[Any]) -> None:
    report = Report.failed(Refused(Code.UNKNOWN, *args), [1], **ABOUT)
    assert Report.load(report.dump()) == report


def test_naive_time_is_refused() -> None:
    with pytest.raises(ValidationError):
        Report.model_validate(report_of(Status.PENDING).model_dump() | {"created_at": "2026-01-02T03:04:05"})


@pytest.mark.parametrize(
    ("process", "expected"),
    [
        (process_item(Outcome.SKIPPED), (None, 0, None, "skipped")),
        (process_item(Outcome.CREATED, 1, "java", 9), (9, 1, "java", "created")),
    ],
)
def test_process_of_an_item_is_shown_with_all_its_fields(process: ProcessItem, expected: tuple[Any, ...]) -> None:
    item: Item = {"index": 0, "bk_host_id": 1, "outcome": process["outcome"], "processes": [process]}
    stored = Report.load(Report.settled([item], **ABOUT).dump()).items[0]

    for shown in (item_document(item), item_document(stored)):
        (found,) = shown["processes"]
        assert tuple(found.values()) == expected
        assert list(found) == ["bk_process_id", "process_template_id", "bk_process_name", "outcome"]
