"""What the items of CMDB's answers become, and which are refused."""

from typing import Any

import pytest

from tests.unit.worker.catalogue.cmdb_items import (
    answer,
    column,
    host,
    module,
    process_template,
    read,
    refusals,
    relation,
    service_template,
)
from worker.catalogue.answers import Kind
from worker.catalogue.items import read_items


def test_only_what_the_catalogue_needs_is_taken_over() -> None:
    incoming = read(module(bk_set_id=9, operator="admin", bk_module_type="1", default=None))
    assert incoming.rows[Kind.MODULE] == {
        (60,): {
            "bk_module_id": 60,
            "bk_biz_id": 1,
            "bk_module_name": "module 60",
            "service_template_id": 5,
            "default": 0,
            "bk_set_id": 9,
        }
    }


def test_what_an_answer_does_not_say_is_not_in_the_row() -> None:
    incoming = read({"bk_host_id": 2, "bk_os_type": "1"})
    assert incoming.rows[Kind.HOST] == {(2,): {"bk_host_id": 2}}


@pytest.mark.parametrize(
    ("answered", "kept"),
    [
        ("10.0.0.2", "10.0.0.2"),
        ("10.0.0.2,10.0.0.3", "10.0.0.2,10.0.0.3"),
        (["10.0.0.2", "10.0.0.3"], "10.0.0.2,10.0.0.3"),
        ([], ""),
        ("", ""),
        (None, ""),
    ],
)
def test_addresses_come_as_text_or_list(answered: Any, kept: str) -> None:
    assert read(host(inner=answered)).rows[Kind.HOST][2,]["bk_host_innerip"] == kept


def test_relation_lists_a_host_with_its_modules_or_one_pair() -> None:
    nested = read(relation(2, 60, 61), bk_biz_id=1)
    flat = read(
        {"bk_biz_id": 1, "bk_host_id": 2, "bk_module_id": 60, "bk_set_id": 3},
        {"bk_biz_id": 1, "bk_host_id": 2, "bk_module_id": 61, "bk_set_id": 3},
    )
    assert nested.rows[Kind.MODULE_HOST_RELATION].keys() == {(60, 2), (61, 2)}
    assert flat.rows[Kind.MODULE_HOST_RELATION].keys() == {(60, 2), (61, 2)}
    assert {row["bk_biz_id"] for row in nested.rows[Kind.MODULE_HOST_RELATION].values()} == {1}
    assert nested.rows[Kind.HOST] == {}


def test_relation_with_addresses_brings_the_host() -> None:
    item = {"host": {"bk_host_id": 2, "bk_host_innerip": "10.0.0.2"}, "modules": [{"bk_module_id": 60}]}
    assert read(item).rows[Kind.HOST] == {(2,): {"bk_host_id": 2, "bk_host_innerip": "10.0.0.2"}}


def test_business_comes_from_the_request_where_the_item_has_none() -> None:
    item = module()
    del item["bk_biz_id"]
    asked = read(item, request={"bk_biz_id": 3, "bk_ids": [60]}, bk_biz_id=4)
    assert asked.rows[Kind.MODULE][60,]["bk_biz_id"] == 3
    assert read(item, bk_biz_id=4).rows[Kind.MODULE][60,]["bk_biz_id"] == 4
    assert refusals(read(item)) == [("data.info[0].bk_biz_id", "field required")]
    assert read(module(), bk_biz_id=4).rows[Kind.MODULE][60,]["bk_biz_id"] == 1


def test_later_answer_says_more_about_the_same_row() -> None:
    first = answer(host(2, "10.0.0.2"))
    second = answer({"bk_host_id": 2, "bk_host_outerip": "203.0.113.2"})
    assert read_items([first, second]).rows[Kind.HOST] == {
        (2,): {"bk_host_id": 2, "bk_host_innerip": "10.0.0.2", "bk_cloud_id": 0, "bk_host_outerip": "203.0.113.2"}
    }


def test_process_template_is_kept_as_cmdb_shows_it() -> None:
    item = process_template(timeout=column(10), unheard_of={"value": [1, {"a": None}]})
    incoming = read(item)
    row = incoming.rows[Kind.PROCESS_TEMPLATE][7,]
    assert row["property"] == item["property"]
    assert row["bk_process_name"] == "nginx"


GOOD = host(1, "10.0.0.1")


@pytest.mark.parametrize(
    ("item", "path", "reason"),
    [
        ({"bk_host_id": "2"}, "bk_host_id", "valid integer"),
        ({"bk_host_id": True}, "bk_host_id", "valid integer"),
        ({"bk_host_id": 2.0}, "bk_host_id", "valid integer"),
        ({"bk_host_id": 0}, "bk_host_id", "greater than or equal to 1"),
        ({"bk_host_id": 2**63}, "bk_host_id", "less than or equal"),
        ({"bk_host_innerip": "10.0.0.2"}, "bk_host_id", "field required"),
        (host(inner=10), "bk_host_innerip", "valid string"),
        (host(inner=["10.0.0.2", 3]), "bk_host_innerip", "valid string"),
        (host(inner="10.0.0.256"), "bk_host_innerip", "IPv4 addresses"),
        (host(inner="10.0.0.2,"), "bk_host_innerip", "IPv4 addresses"),
        (host(inner="2001:db8::2"), "bk_host_innerip", "IPv4 addresses"),
        (host(bk_host_innerip_v6="10.0.0.2"), "bk_host_innerip_v6", "IPv6 addresses"),
        (host(bk_supplier_account="a\x00b"), "bk_supplier_account", "no NUL"),
        (host(bk_supplier_account="\ud800"), "bk_supplier_account", "lone surrogate"),
        ("a host", "", "valid dictionary"),
        (None, "", "valid dictionary"),
    ],
)
def test_bad_item_is_refused_and_the_rest_is_read(item: Any, path: str, reason: str) -> None:
    incoming = read(GOOD, item, host(3, "10.0.0.3"))
    assert incoming.rows[Kind.HOST].keys() == {(1,), (3,)}
    [(where, why)] = refusals(incoming)
    assert where == f"data.info[1].{path}".rstrip(".")
    assert reason in why
    assert incoming.refused[0].source == "file.json"


@pytest.mark.parametrize(
    ("properties", "path"),
    [
        ({"timeout": column(10_001)}, "property.timeout"),
        ({"timeout": column("10")}, "property.timeout"),
        ({"auto_start": column(1)}, "property.auto_start"),
        ({"bk_process_name": column("", locked=True)}, "property.bk_process_name"),
        ({"bind_info": column([{"row_id": 1, "port": column("80")}])}, "property.bind_info[0].protocol"),
        (
            {"bind_info": column([{"row_id": 1, "port": column("0"), "protocol": column("1")}])},
            "property.bind_info[0].port",
        ),
        (
            {"bind_info": column([{"ip": column("7"), "port": column("80"), "protocol": column("1")}])},
            "property.bind_info[0].ip",
        ),
        ({"work_path": column("/data\x00")}, "property"),
        ({"unheard_of": [[1e400]]}, "property"),
    ],
)
def test_template_that_breaks_a_rule_is_refused_by_itself(properties: dict[str, Any], path: str) -> None:
    incoming = read(process_template(6, name="a"), process_template(7, **properties), process_template(8, name="c"))
    assert incoming.rows[Kind.PROCESS_TEMPLATE].keys() == {(6,), (8,)}
    assert [where for where, _ in refusals(incoming)] == [f"data.info[1].{path}"]
    assert incoming.kept == {(Kind.PROCESS_TEMPLATE, (7,))}


def test_bottomless_property_is_refused() -> None:
    deep: Any = 1
    for _ in range(50):
        deep = [deep]
    assert [reason for _, reason in refusals(read(process_template(unheard_of=deep)))] == [
        "must not be nested deeper than 20"
    ]


def test_item_of_another_kind_than_the_first_is_refused() -> None:
    incoming = read(GOOD, service_template())
    assert refusals(incoming) == [("data.info[1].bk_host_id", "field required")]
    assert incoming.rows[Kind.SERVICE_TEMPLATE] == {}
