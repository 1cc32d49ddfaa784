"""What an import does to what is stored: add, change, remove, refuse, or nothing."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.worker.catalogue.cmdb_items import (
    NOTHING_STORED,
    after,
    answer,
    changes,
    column,
    host,
    module,
    process_template,
    relation,
    service_template,
)
from worker.catalogue.answers import Answer, Kind
from worker.catalogue.changes import Changes
from worker.catalogue.items import Rows


def stored(*answers: Answer) -> Rows:
    return after(NOTHING_STORED, changes(NOTHING_STORED, *answers))


def removed(found: Changes) -> dict[Kind, tuple[tuple[int, ...], ...]]:
    return {kind: keys for kind, keys in found.removed.items() if keys}


def reasons(found: Changes) -> list[tuple[str, str]]:
    return [(refusal.path, refusal.reason) for refusal in found.refused]


BUSINESS = (
    answer(service_template(5), service_template(6)),
    answer(process_template(7, 5, "nginx"), process_template(8, 5, "redis"), process_template(9, 6, "java")),
    answer(module(60), module(61, service_template_id=0)),
    answer(host(1, "10.0.0.1"), host(2, "10.0.0.2")),
    answer(relation(1, 60, 61), relation(2, 60), request={"bk_biz_id": 1, "bk_module_ids": [60, 61]}),
)

# Add, change, leave ---------------------------------------------------------------------------------------------------


def test_new_rows_are_added_whole() -> None:
    found = changes(NOTHING_STORED, *BUSINESS)
    assert {kind: set(rows) for kind, rows in found.added.items()} == {
        Kind.SERVICE_TEMPLATE: {(5,), (6,)},
        Kind.PROCESS_TEMPLATE: {(7,), (8,), (9,)},
        Kind.MODULE: {(60,), (61,)},
        Kind.HOST: {(1,), (2,)},
        Kind.MODULE_HOST_RELATION: {(60, 1), (60, 2), (61, 1)},
    }
    assert found.added[Kind.HOST][1,] == {
        "bk_host_id": 1,
        "bk_host_innerip": "10.0.0.1",
        "bk_host_outerip": "",
        "bk_host_innerip_v6": "",
        "bk_host_outerip_v6": "",
        "bk_cloud_id": 0,
        "bk_supplier_account": "0",
    }
    assert (found.refused, found.notes) == ([], [])


def test_same_answers_again_change_nothing() -> None:
    found = changes(stored(*BUSINESS), *BUSINESS, prune=True)
    assert found.is_empty
    assert dict(found.unchanged) == {
        Kind.SERVICE_TEMPLATE: 2,
        Kind.PROCESS_TEMPLATE: 3,
        Kind.MODULE: 2,
        Kind.HOST: 2,
        Kind.MODULE_HOST_RELATION: 3,
    }


def test_changed_row_names_the_columns_that_differ() -> None:
    found = changes(stored(*BUSINESS), answer(host(2, "10.0.0.22", bk_cloud_id=3)))
    assert found.fields == {(Kind.HOST, (2,)): ("bk_cloud_id", "bk_host_innerip")}
    assert found.changed[Kind.HOST][2,]["bk_host_innerip"] == "10.0.0.22"


def test_what_an_answer_does_not_say_stays_as_stored() -> None:
    before = stored(*BUSINESS)
    found = changes(before, answer({"bk_host_id": 2, "bk_host_outerip": "203.0.113.2"}))
    assert found.changed[Kind.HOST][2,] == {**before[Kind.HOST][2,], "bk_host_outerip": "203.0.113.2"}


def test_known_module_without_its_template_field_stays_bound() -> None:
    item = module(60, bk_module_name="renamed")
    del item["service_template_id"]
    found = changes(stored(*BUSINESS), answer(item))
    assert found.changed[Kind.MODULE][60,]["service_template_id"] == 5
    assert found.fields == {(Kind.MODULE, (60,)): ("bk_module_name",)}


# Refuse ---------------------------------------------------------------------------------------------------------------


def test_new_module_without_its_template_field_is_refused() -> None:
    item = module(62)
    del item["service_template_id"]
    found = changes(NOTHING_STORED, answer(item, module(60, service_template_id=0)))
    assert [path for path, _ in reasons(found)] == ["data.info[0].service_template_id"]
    assert found.added[Kind.MODULE].keys() == {(60,)}


@pytest.mark.parametrize("module_is", ["in the import", "stored"])
def test_relation_takes_its_business_from_the_module(module_is: str) -> None:
    modules = answer(module(60, bk_biz_id=3))
    if module_is == "stored":
        found = changes(stored(modules), answer(relation(2, 60)))
    else:
        found = changes(NOTHING_STORED, answer(relation(2, 60)), modules)
    assert found.added[Kind.MODULE_HOST_RELATION][60, 2]["bk_biz_id"] == 3


def test_relation_without_any_business_is_refused() -> None:
    found = changes(NOTHING_STORED, answer(relation(2, 60)))
    [(path, reason)] = reasons(found)
    assert path == "data.relation[0]"
    assert "business of module 60 is not known" in reason


def test_relation_into_a_module_of_another_business_is_refused() -> None:
    flat = {"bk_biz_id": 2, "bk_host_id": 2, "bk_module_id": 60}
    found = changes(stored(*BUSINESS), answer(flat))
    assert reasons(found) == [("data.info[0]", "module 60 is of business 1, not 2")]
    assert found.is_empty


@pytest.mark.rule("3.8", "a process template of another business than its service template is refused")
def test_process_template_of_another_business_is_refused() -> None:
    found = changes(stored(*BUSINESS), answer(process_template(10, 5, "vim", bk_biz_id=2)))
    assert reasons(found) == [("data.info[0].bk_biz_id", "service template 5 is of business 1, not 2")]


@pytest.mark.rule("3.8", "a name is there once in a service template, and so is a function with its start regex")
@pytest.mark.parametrize(
    ("item", "path"),
    [
        (process_template(10, 5, "nginx"), "data.info[0].property.bk_process_name"),
        (
            process_template(
                10,
                5,
                "other name",
                bk_func_name=column("nginx", locked=True),
                bk_start_param_regex=column(""),
            ),
            "data.info[0].property.bk_func_name",
        ),
    ],
)
def test_duplicate_inside_a_service_template_is_refused(item: dict[str, Any], path: str) -> None:
    first = answer(service_template(5)), answer(process_template(7, 5, "nginx", bk_start_param_regex=column("")))
    found = changes(stored(*first), answer(item, process_template(11, 5, "redis")))
    assert [where for where, _ in reasons(found)] == [path]
    assert found.added[Kind.PROCESS_TEMPLATE].keys() == {(11,)}


def test_two_templates_may_swap_their_names() -> None:
    found = changes(stored(*BUSINESS), answer(process_template(7, 5, "redis"), process_template(8, 5, "nginx")))
    assert (found.refused, found.changed[Kind.PROCESS_TEMPLATE].keys()) == ([], {(7,), (8,)})


def test_name_of_a_removed_template_is_free() -> None:
    found = changes(stored(*BUSINESS), answer(process_template(10, 5, "redis")), prune=True)
    assert found.refused == []
    assert removed(found) == {Kind.PROCESS_TEMPLATE: ((7,), (8,))}


def test_refused_new_process_template_is_called_a_gap() -> None:
    found = changes(stored(*BUSINESS), answer(process_template(10, 5, timeout=column(0))))
    assert any("10" in note and "lack" in note for note in found.notes)


def test_references_into_nothing_are_noted_and_taken_over() -> None:
    found = changes(
        NOTHING_STORED,
        answer(process_template(7, 5)),
        answer(module(60, service_template_id=6)),
        answer(relation(2, 60, 61), request={"bk_biz_id": 1}),
    )
    assert found.refused == []
    assert sorted(found.notes) == [
        "host relations name 1 hosts that the catalogue does not have: 2",
        "host relations name 1 modules that the catalogue does not have: 61",
        "modules name 1 service templates that the catalogue does not have: 6",
        "process templates name 1 service templates that the catalogue does not have: 5",
    ]


# Remove ---------------------------------------------------------------------------------------------------------------


def test_nothing_is_removed_unless_asked() -> None:
    found = changes(stored(*BUSINESS), answer(service_template(5)), answer(module(61, service_template_id=0)))
    assert found.is_empty


def test_service_template_that_is_gone_takes_its_processes_along() -> None:
    found = changes(stored(*BUSINESS), answer(service_template(5)), prune=True)
    assert removed(found) == {Kind.SERVICE_TEMPLATE: ((6,),), Kind.PROCESS_TEMPLATE: ((9,),)}


def test_process_template_that_is_gone_is_removed_from_its_service_template_alone() -> None:
    found = changes(stored(*BUSINESS), answer(process_template(7, 5, "nginx")), prune=True)
    assert removed(found) == {Kind.PROCESS_TEMPLATE: ((8,),)}


def test_last_process_template_is_removed_when_its_empty_listing_says_what_was_asked() -> None:
    empty = answer(kind="list_proc_template", request={"bk_biz_id": 1, "service_template_id": 6})
    assert removed(changes(stored(*BUSINESS), empty, prune=True)) == {Kind.PROCESS_TEMPLATE: ((9,),)}


def test_module_that_is_gone_takes_its_relations_along() -> None:
    found = changes(stored(*BUSINESS), answer(module(61, service_template_id=0)), prune=True)
    assert removed(found) == {Kind.MODULE: ((60,),), Kind.MODULE_HOST_RELATION: ((60, 1), (60, 2))}


def test_host_that_left_a_module_loses_the_relation_and_stays_known() -> None:
    found = changes(stored(*BUSINESS), answer(relation(1, 60)), answer(host(1, "10.0.0.1")), prune=True)
    assert removed(found) == {Kind.MODULE_HOST_RELATION: ((60, 2),)}


def test_other_businesses_are_left_alone() -> None:
    other = answer(service_template(90, 2)), answer(module(91, 2, 90))
    found = changes(stored(*BUSINESS, *other), answer(service_template(5)), answer(module(60)), prune=True)
    assert removed(found)[Kind.SERVICE_TEMPLATE] == ((6,),)
    assert removed(found)[Kind.MODULE] == ((61,),)


def test_refused_item_is_not_taken_for_gone() -> None:
    broken = service_template(6, name=None)
    found = changes(stored(*BUSINESS), answer(service_template(5), broken), prune=True)
    assert removed(found) == {}
    assert len(found.refused) == 1


def test_item_without_readable_id_keeps_its_kind_from_being_removed() -> None:
    found = changes(stored(*BUSINESS), answer(service_template(5), {"id": "6", "name": "x"}), prune=True)
    assert removed(found) == {}
    assert [note for note in found.notes if "nothing is removed" in note]


# Any sequence ---------------------------------------------------------------------------------------------------------

IDS = st.integers(1, 4)
LISTINGS = st.lists(
    st.one_of(
        st.builds(service_template, IDS, IDS),
        st.builds(process_template, IDS, IDS, st.sampled_from("ab"), IDS),
        st.builds(module, IDS, IDS, IDS),
        st.builds(host, IDS, st.sampled_from(["10.0.0.1", "", "nonsense"])),
        st.builds(relation, IDS, IDS, IDS),
    ),
    max_size=12,
)


@given(first=LISTINGS, second=LISTINGS, prune=st.booleans())
def test_importing_twice_is_importing_once(first: list[Any], second: list[Any], *, prune: bool) -> None:
    before = stored(*(answer(item) for item in first))
    answers = [answer(item) for item in second]
    once = after(before, changes(before, *answers, prune=prune))
    again = changes(once, *answers, prune=prune)
    assert again.is_empty
    assert after(once, again) == once


@given(order=st.permutations(BUSINESS))
def test_documents_may_come_in_any_order(order: list[Answer]) -> None:
    assert stored(*order) == stored(*BUSINESS)
