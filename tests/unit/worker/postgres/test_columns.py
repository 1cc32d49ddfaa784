"""What is sent for rows that share their columns is those rows, one by one."""

import json
import re
from collections import Counter
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from contract.answer.items import Outcome
from contract.request.batch import PROCESS_PROPERTIES
from worker.expand.plan import PlannedBind, PlannedProcess
from worker.postgres.columns import NewList, NewRows, bigint_array, text_array

WHO = ("user", "0")
STORABLE = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=8)


def texts_of(array: str) -> list[str]:
    """PostgreSQL's reading of an array of texts, all of them quoted."""
    found = re.findall(r'"((?:[^"\\]|\\.)*)"(?=[,}])', array, re.DOTALL)
    return [re.sub(r"\\(.)", r"\1", text, flags=re.DOTALL) for text in found]


def bigints_of(array: str) -> list[int]:
    return [int(number) for number in array[1:-1].split(",")] if array != "{}" else []


@given(st.lists(STORABLE | st.sampled_from(['"', "\\", '","', "", "{}", "NULL", "10.0.0.1_nginx_80"]), max_size=5))
def test_texts_are_read_as_they_were_given(values: list[str]) -> None:
    array = text_array(values)
    assert (array[0], array[-1]) == ("{", "}")
    assert texts_of(array) == values


@given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=5))
def test_numbers_are_read_as_they_were_given(values: list[int]) -> None:
    assert bigints_of(bigint_array(values)) == values


BINDS = st.builds(
    PlannedBind,
    st.integers(1, 2),
    st.just("127.0.0.1"),
    st.sampled_from(["80", "81"]),
    st.just("1"),
    enable=st.booleans(),
)


@st.composite
def planned_processes(draw: st.DrawFn) -> PlannedProcess:
    values = dict.fromkeys(PROCESS_PROPERTIES) | {"bk_process_name": draw(st.sampled_from("ab"))}
    return PlannedProcess(draw(st.integers(0, 1)), values, tuple(draw(st.lists(BINDS, max_size=2))))


LISTS = st.lists(planned_processes(), min_size=1, max_size=3)


@given(st.lists(LISTS, min_size=1, max_size=3), st.data())
def test_processes_of_a_list_are_the_rows_of_each_instance(
    lists: list[list[PlannedProcess]], data: st.DataObject
) -> None:
    rows, new = NewRows(), dict[int, NewList]()
    processes: Counter[tuple[Any, ...]] = Counter()
    binds: Counter[tuple[Any, ...]] = Counter()
    count = 0
    next_id = 100
    for instance in range(data.draw(st.integers(1, 6))):
        asked = data.draw(st.sampled_from(lists))
        ids = list(range(next_id, next_id + len(asked)))
        next_id += len(asked)
        place = lists.index(asked)
        if place not in new:
            new[place] = rows.new_list(7, WHO, asked)
        said = new[place].add(instance, 1000 + instance, ids)
        count += new[place].row_count
        for id_, process, record in zip(ids, asked, said, strict=True):
            name, template = process.bk_process_name, process.process_template_id
            assert record["outcome"] is Outcome.CREATED
            assert (record.get("bk_process_id"), record.get("bk_process_name")) == (id_, name)
            assert record.get("process_template_id", 0) == template
            processes[id_, instance, 1000 + instance, template, name] += 1
            binds.update((1000 + instance, id_, *row) for row in process.bind_info)

    _, sent_processes, sent_binds = map(json.loads, rows.arguments())

    assert count == processes.total() + binds.total()
    assert processes == Counter(
        (*own, shape["process_template_id"], shape["bk_process_name"])
        for shape in sent_processes
        for own in zip(
            *(bigints_of(shape[name]) for name in ("bk_process_id", "service_instance_id", "bk_host_id")), strict=True
        )
    )
    assert binds == Counter(
        (*own, *(shape[name] for name in PlannedBind._fields))
        for shape in sent_binds
        for own in zip(*(bigints_of(shape[name]) for name in ("bk_host_id", "bk_process_id")), strict=True)
    )
