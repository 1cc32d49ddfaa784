"""What CMDB lacks, as calls: what is here and what CMDB is known to have of it, in; bodies of CMDB's own API, out."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from worker.expand.delivery import MOST_PROCESSES, Ours, adopted, lacks, missing, pieces
from worker.expand.plan import PlannedBind
from worker.expand.sync import CmdbInstance, CmdbProcess, StoredProcess


def row(id_: int) -> PlannedBind:
    return PlannedBind(id_, "127.0.0.1", str(8000 + id_), "1", enable=True)


def process(id_: int, cmdb_id: int | None = None, *, rows: Sequence[int] = (1,), known: Sequence[int] = ()) -> Any:
    values = {"bk_process_name": f"p{id_}", "bk_func_name": "java", "priority": None}
    return StoredProcess(id_, 1, 7, values, tuple(map(row, rows)), cmdb_id, tuple(known))


def ours(id_: int, cmdb_id: int | None = None, *processes: StoredProcess, **changes: Any) -> Ours:
    known = {"service_template_id": 5, "instance_key": "", "name": f"n{id_}", "is_gone": False} | changes
    return Ours(id_, 1, 60, bk_host_id=id_, cmdb_id=cmdb_id, processes=processes, **known)


def theirs(id_: int, host: int, name: str) -> CmdbInstance:
    return CmdbInstance(id_, 1, 60, host, 0, name, "", "", "0", None, None)


def test_what_cmdb_has_as_it_is_here_needs_no_call() -> None:
    assert missing([ours(1, 71, process(10, 710, known=[1, 9]))]) == []


def test_what_cmdb_had_and_has_no_more_is_not_made_again() -> None:
    assert missing([ours(1, 71, process(10), is_gone=True)]) == []


def test_new_instances_are_one_call_with_all_they_hold() -> None:
    (call,) = missing([ours(1, None, process(10)), ours(2, None)])
    assert (call.api, call.instance_ids) == ("create_service_instance", (1, 2))
    first, second = call.body["instances"]
    assert (first["bk_host_id"], first["service_instance_name"], second["processes"]) == (1, "n1", [])
    info = first["processes"][0]["process_info"]
    assert first["processes"][0]["process_template_id"] == 7
    assert (info["bk_process_name"], info["priority"]) == ("p10", None)
    assert info["bind_info"] == [
        {"template_row_id": 1, "ip": "127.0.0.1", "port": "8001", "protocol": "1", "enable": True}
    ]


def test_cmdb_takes_a_hundred_at_once() -> None:
    assert [len(call.instance_ids) for call in missing(ours(id_) for id_ in range(1, 251))] == [100, 100, 50]


def test_a_name_that_only_cmdb_itself_can_give_is_left_to_it() -> None:
    (call,) = missing([ours(1, None, name="a" * 257)])
    assert "service_instance_name" not in call.body["instances"][0]


def test_what_was_healed_is_added_under_what_cmdb_has() -> None:
    healed = ours(1, 71, process(10, 710, rows=[1, 2], known=[1]), process(11), service_template_id=0)
    create, update = missing([healed])
    assert (create.api, create.body["service_instance_id"]) == ("create_process_instance", 71)
    assert [one["process_info"]["bk_process_name"] for one in create.body["processes"]] == ["p11"]
    (updated,) = update.body["processes"]
    assert (update.api, updated["bk_process_id"]) == ("update_process_instance", 710)
    assert [one["template_row_id"] for one in updated["bind_info"]] == [1, 2]


def test_more_processes_than_one_call_takes_are_calls_of_their_own() -> None:
    calls = missing([ours(1, 71, *map(process, range(150)), service_template_id=0)])
    assert [len(call.process_ids) for call in calls] == [100, 50]
    assert len({call.place for call in calls}) == 2


def test_a_process_of_a_later_template_is_lacked_and_there_is_no_call_for_it() -> None:
    one = ours(1, 71, process(10, 710, known=[1]), process(11))
    assert missing([one]) == []
    assert lacks(one)
    assert not lacks(ours(1, 71, process(10, 710, known=[1])))
    assert not lacks(ours(1, 71, process(10), is_gone=True))


def test_pieces_are_as_large_as_cmdb_can_bear() -> None:
    many = [ours(id_, None, *(process(id_ * 100 + number) for number in range(100))) for id_ in range(1, 12)]
    assert [len(piece) for piece in pieces(many, 100)] == [MOST_PROCESSES // 100] * 2 + [1]
    assert [len(piece) for piece in pieces(many, 2)] == [2] * 5 + [1]


def test_a_clone_is_known_by_its_youth() -> None:
    """Of the same name on the same host, only what came after the call can have come of it."""
    clone = ours(1, None, service_template_id=0, name="web", instance_key="request 0")
    other = ours(2, None, service_template_id=0, name="web", instance_key="web")
    listed = [theirs(70, 1, "web"), theirs(81, 1, "web"), theirs(82, 2, "web")]
    assert adopted([clone, other], [1, 2], 80, listed) == [(1, 81)]
    assert adopted([clone, other], [], 80, listed) == []
    assert adopted([clone, other], [1, 2], 82, listed) == []


def test_what_cmdb_names_itself_is_known_by_its_processes() -> None:
    long = {"service_template_id": 0, "name": "10.0.0.1," * 40, "instance_key": "10.0.0.1," * 40}
    mine, listed = ours(1, None, process(10), **long), theirs(81, 1, "10.0.0.9_p10")

    def found(number: int) -> list[tuple[int, int]]:
        there = replace(listed, processes=(CmdbProcess(810, 0, process(number).values),))
        return adopted([mine], [1], 80, [there])

    assert found(10) == [(1, 81)]
    assert found(11) == []
