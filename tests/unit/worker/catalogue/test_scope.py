"""Of what an answer is the whole listing."""

from typing import Any

import pytest

from tests.unit.worker.catalogue.cmdb_items import answer, host, module, process_template, relation, service_template
from worker.catalogue.answers import Answer, Kind
from worker.catalogue.scope import whole_listings


def whole(*answers: Answer) -> dict[Kind, frozenset[int]]:
    scope, _ = whole_listings(answers)
    return {kind: ids for kind, ids in scope.items() if ids}


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ([service_template(5, 1), service_template(6, 2)], {Kind.SERVICE_TEMPLATE: {1, 2}}),
        ([process_template(7, 5), process_template(8, 6)], {Kind.PROCESS_TEMPLATE: {5, 6}}),
        ([module(60, 1), module(61, 2)], {Kind.MODULE: {1, 2}}),
        ([relation(1, 60, 61), relation(2, 62)], {Kind.MODULE_HOST_RELATION: {60, 61, 62}}),
        ([{"bk_host_id": 1, "bk_module_id": 60, "bk_biz_id": 1}], {Kind.MODULE_HOST_RELATION: {60}}),
        ([host(1)], {}),
        ([service_template(5, 1), "junk", None], {Kind.SERVICE_TEMPLATE: {1}}),
    ],
)
def test_items_say_their_scope(items: list[Any], expected: dict[Kind, set[int]]) -> None:
    assert whole(answer(*items)) == expected


@pytest.mark.parametrize(
    ("kind", "request_", "expected"),
    [
        ("list_service_template", {"bk_biz_id": 1, "page": {"start": 0, "limit": 500}}, {Kind.SERVICE_TEMPLATE: {1}}),
        ("list_proc_template", {"bk_biz_id": 1, "service_template_id": 5}, {Kind.PROCESS_TEMPLATE: {5}}),
        ("find_module_with_relation", {"bk_biz_id": 1, "fields": ["bk_module_id"]}, {Kind.MODULE: {1}}),
        (
            "find_module_host_relation",
            {
                "bk_biz_id": 1,
                "bk_module_ids": [60, 61],
                "host_fields": ["bk_host_id"],
                "module_fields": ["bk_module_id"],
            },
            {Kind.MODULE_HOST_RELATION: {60, 61}},
        ),
        ("list_biz_hosts", {"bk_biz_id": 1}, {}),
    ],
)
def test_request_says_the_scope_of_an_empty_answer(
    kind: str, request_: dict[str, Any], expected: dict[Kind, set[int]]
) -> None:
    assert whole(answer(kind=kind, request=request_)) == expected


@pytest.mark.parametrize(
    ("kind", "request_"),
    [
        ("list_service_template", {"bk_biz_id": 1, "search": "nginx"}),
        ("list_service_template", {"bk_biz_id": 1, "service_category_id": 2}),
        ("list_proc_template", {"bk_biz_id": 1, "process_template_ids": [7]}),
        ("find_module_batch", {"bk_biz_id": 1, "bk_ids": [60]}),
        ("find_module_with_relation", {"bk_biz_id": 1, "bk_set_ids": [3]}),
    ],
)
def test_request_with_a_filter_is_no_whole_listing(kind: str, request_: dict[str, Any]) -> None:
    scope, notes = whole_listings([answer(kind=kind, request=request_)])
    assert not any(scope.values())
    assert [note for note in notes if "nothing is removed" in note]


def test_pages_are_whole_together_and_not_alone() -> None:
    def page(start: int, *items: Any) -> Answer:
        return answer(
            *items, count=3, request={"bk_biz_id": 1, "page": {"start": start, "limit": 2}}, source=f"p{start}"
        )

    first, second = page(0, service_template(5), service_template(6)), page(2, service_template(7))
    assert whole(first, second) == {Kind.SERVICE_TEMPLATE: {1}}
    assert whole(first) == {}
    _, notes = whole_listings([first])
    assert notes == ("p0: 2 of 3 items; nothing is removed",)


def test_overlapping_pages_are_not_more_than_they_are() -> None:
    asked = {"bk_biz_id": 1}
    same = answer(service_template(5), count=2, request=asked)
    assert whole(same, same) == {}


def test_listing_that_was_counted_differently_is_not_whole() -> None:
    asked = {"bk_biz_id": 1}
    pages = answer(service_template(5), count=1, request=asked), answer(service_template(6), count=2, request=asked)
    scope, notes = whole_listings(pages)
    assert not any(scope.values())
    assert "changed while it was read" in notes[0]


def test_business_given_from_outside_counts_for_an_empty_request() -> None:
    item = service_template(5)
    scope, _ = whole_listings([answer(item)], bk_biz_id=1)
    assert scope[Kind.SERVICE_TEMPLATE] == {1}
