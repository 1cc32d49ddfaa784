"""The judge of a chaos run can say no to what CMDB has."""

from collections.abc import Mapping
from typing import Any

import pytest

from chaos.cmdb.strangers import NAME
from chaos.cmdb_history import judge_cmdb
from chaos.model import UNBOUND_MODULE, Instance

BOUND, FREE = Instance(60, 1), Instance(UNBOUND_MODULE, 2, "unit-1", ("alpha",))
STORED = BOUND.rows() | FREE.rows()
KNOWN = {BOUND.key: 71, FREE.key: 72}


def _process(name: str, row_id: int, port: str) -> Mapping[str, Any]:
    return {"process": {"bk_process_name": name, "bind_info": [{"template_row_id": row_id, "port": port}]}}


def _instance(id_: int, instance: Instance, *processes: Mapping[str, Any], **changes: Any) -> Mapping[str, Any]:
    known = {"bk_module_id": instance.bk_module_id, "bk_host_id": instance.bk_host_id, "creator": "admin"}
    named = (
        {"service_template_id": 0, "name": instance.name} if instance.name else {"service_template_id": 1, "name": "x"}
    )
    return {"id": id_, **known, **named, "process_instances": list(processes), **changes}


ONE = _instance(71, BOUND, _process("job_java", 1234, "80"))
TWO = _instance(72, FREE, _process("alpha", 1, "1026"))


def test_cmdb_has_all_of_it_once_and_what_others_made_is_theirs() -> None:
    theirs = _instance(80, Instance(UNBOUND_MODULE, 3, "theirs"), creator=NAME)
    judged = judge_cmdb(STORED, [ONE, TWO, theirs], KNOWN)
    assert (judged.instances, judged.lost, judged.doubled, judged.wrong) == (2, 0, 0, ())


def test_what_cmdb_lacks_is_lost() -> None:
    assert judge_cmdb(STORED, [ONE], KNOWN).lost == len(FREE.rows())
    assert judge_cmdb(STORED, [ONE, _instance(72, FREE)], KNOWN).lost == len(FREE.rows()) - 1


def test_what_cmdb_has_twice_is_doubled() -> None:
    assert judge_cmdb(STORED, [ONE, TWO, {**TWO, "id": 73}], KNOWN).doubled == len(FREE.rows())


@pytest.mark.parametrize(
    ("instances", "known"),
    [([ONE, TWO], {**KNOWN, FREE.key: 99}), ([ONE, TWO], {}), ([ONE, TWO, _instance(9, Instance(60, 7))], KNOWN)],
    ids=["another id", "no id", "a row nobody wanted"],
)
def test_two_stories_are_wrong(instances: list[Mapping[str, Any]], known: Mapping[Any, int]) -> None:
    assert judge_cmdb(STORED, instances, known).wrong
