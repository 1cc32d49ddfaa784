"""Which documents are answers of CMDB, and what they list."""

from typing import Any

import pytest

from tests.unit.worker.catalogue.cmdb_items import (
    document,
    envelope,
    host,
    module,
    process_template,
    relation,
    service_template,
)
from worker.catalogue.answers import API_KINDS, AnswerRefused, Kind, read_answer

FLAT_RELATION = {"bk_biz_id": 1, "bk_host_id": 2, "bk_module_id": 60, "bk_set_id": 3}


@pytest.mark.parametrize(
    ("item", "kind"),
    [
        (service_template(), Kind.SERVICE_TEMPLATE),
        (process_template(), Kind.PROCESS_TEMPLATE),
        (module(), Kind.MODULE),
        (host(), Kind.HOST),
        (relation(), Kind.MODULE_HOST_RELATION),
        (FLAT_RELATION, Kind.MODULE_HOST_RELATION),
    ],
)
def test_kind_is_recognised_by_the_items(item: dict[str, Any], kind: Kind) -> None:
    found = read_answer(document(envelope(item)), "a.json")
    assert (found.kind, found.items, found.path, found.count) == (kind, [item], "data.info", 1)


_ONE = {"id": 1, "bk_biz_id": 1, "name": "a", "bk_supplier_account": "0"}
OTHERS: dict[str, dict[str, Any]] = {
    "list_set_template": _ONE | {"version": 1, "creator": "admin"},
    "list_service_category": _ONE | {"bk_root_id": 1, "bk_parent_id": 0, "is_built_in": True},
    "list_service_instance": _ONE | {"bk_host_id": 2, "bk_module_id": 60, "service_template_id": 5},
    "list_process_instance": {"property": {"bk_process_id": 1}, "relation": {"bk_host_id": 2}},
    "list_biz_hosts_topo": {"host": host(), "topo": []},
    "list_host_apply_rule": {"id": 1, "bk_module_id": 60, "bk_attribute_id": 3, "bk_property_value": "x"},
    "find_host_service_template": {"bk_host_id": 2, "service_template_id": [5]},
    "list_process_related_info": {"bk_host_id": 2, "bk_process_id": 7, "service_instance_id": 3},
    "search_set": {"bk_set_id": 3, "bk_set_name": "set", "bk_biz_id": 1},
    "search_business": {"bk_biz_id": 1, "bk_biz_name": "biz"},
    "search_biz_inst_topo": {"bk_inst_id": 1, "bk_inst_name": "biz", "bk_obj_id": "biz", "child": []},
}


@pytest.mark.bad_input(121, "the answer of another API of CMDB as a catalogue", "refused, with what it looks like")
@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("kind", [None, Kind.SERVICE_TEMPLATE, Kind.MODULE_HOST_RELATION])
def test_answer_of_another_api_is_refused_by_its_name(name: str, kind: Kind | None) -> None:
    for items in ([OTHERS[name]], [service_template(), OTHERS[name]]):
        with pytest.raises(AnswerRefused, match=f"look like the items of {name}"):
            read_answer(document(envelope(*items)), "a.json", kind)


def test_answer_that_is_said_to_be_something_else_is_refused() -> None:
    with pytest.raises(AnswerRefused, match="said to be module, but these look like the items of list_biz_hosts"):
        read_answer(document(envelope(host())), "a.json", Kind.MODULE)


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ([host()], ""),
        ({"count": 1, "info": [host()]}, "info"),
        ({"result": True, "data": [host()]}, "data"),
        ({"result": True, "bk_error_code": 0, "bk_error_msg": "success", "data": {"info": [host()]}}, "data.info"),
        ({"result": True, "data": {"count": 1, "relation": [host()]}}, "data.relation"),
        ({"result": True, "data": {"count": 1, "data": [host()], "page": {}}}, "data.data"),
    ],
)
def test_list_is_found_with_or_without_envelope(body: Any, path: str) -> None:
    found = read_answer(document(body), "a.json")
    assert (found.kind, found.path, found.items) == (Kind.HOST, path, [host()])


@pytest.mark.parametrize("data", [None, [], {"count": 0, "info": []}, {"count": 0, "info": None}])
def test_empty_listing_has_no_kind_of_its_own(data: Any) -> None:
    assert read_answer(document({"result": True, "data": data}), "a.json").kind is None
    said = read_answer(document({"result": True, "data": data, "kind": "list_biz_hosts"}), "a.json")
    assert (said.kind, list(said.items)) == (Kind.HOST, [])


@pytest.mark.parametrize("name", [*API_KINDS, *Kind])
def test_kind_is_said_by_the_name_of_api_or_table(name: str) -> None:
    expected = API_KINDS.get(name) or Kind(name)
    assert read_answer(document({"data": [], "kind": name}), "a.json").kind is expected


def test_request_travels_beside_the_answer() -> None:
    asked = {"bk_biz_id": 1, "page": {"start": 0, "limit": 500}}
    assert read_answer(document(envelope(host(), request=asked)), "a.json").request == asked


def test_byte_order_mark_is_no_obstacle() -> None:
    assert read_answer(b"\xef\xbb\xbf" + document([host()]), "a.json").kind is Kind.HOST


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "not JSON"),
        (b"<html>", "not JSON"),
        (b"\xff\xfe[]", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'[{"bk_host_id": NaN}]', "NaN is not a JSON number"),
        (document({"bk_biz_id": 1, "instances": []}), "no list of items"),
        (document("hosts"), "the document is not a list"),
        (document({"data": {"info": {"bk_host_id": 1}}}), "data.info is not a list"),
        (document([{"bk_set_id": 1}]), "say `kind`"),
        (document([{"id": 1, "name": "a"}]), "say `kind`"),
        (document([1, None]), "say `kind`"),
        (document({"data": [], "kind": "hosts"}), "kind is none of"),
        (document({"data": [], "kind": ["host"]}), "kind is none of"),
        (document({"data": [], "request": []}), "request is not an object"),
        (
            document({"result": False, "code": 9900403, "message": "no permission", "data": None}),
            "CMDB answered 9900403: no permission",
        ),
        (
            document({"result": False, "bk_error_code": 1199006, "bk_error_msg": "bk_biz_id is wrong", "data": None}),
            "CMDB answered 1199006: bk_biz_id is wrong",
        ),
    ],
)
def test_document_that_is_no_answer_is_refused(body: bytes, reason: str) -> None:
    with pytest.raises(AnswerRefused) as refused:
        read_answer(body, "a.json")
    assert reason in refused.value.reason
    assert str(refused.value).startswith("a.json: ")
