"""What is sent for rows that share their columns is those rows, one by one."""

import json
import re
from collections import Counter
from collections.abc import Sequence
from operator import itemgetter
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from contract.answer.status import Outcome
from contract.request.batch import PROCESS_PROPERTIES
from worker.expand.plan import PlannedBind, PlannedProcess
from worker.postgres.columns import (
    BIND_ROWS,
    INSTANCES,
    PROCESSES,
    NewList,
    NewRows,
    bigint_array,
    text_array,
)

WHO = ("user", "0")
OWN = {*INSTANCES.own, *PROCESSES.own, *BIND_ROWS.own}
_ASKED = ("bk_process_name", "work_path", "auto_start", "proc_num")
STORABLE = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=8)


def texts_of(array: str) -> list[str]:
    """PostgreSQL's reading of an array of texts, all of them quoted."""
    found = re.findall(r'"((?:[^"\\]|\\.)*)"(?=[,}])', array, re.DOTALL)
    return [re.sub(r"\\(.)", r"\1", text, flags=re.DOTALL) for text in found]


def bigints_of(array: str) -> list[int]:
    return [int(number) for number in array[1:-1].split(",")] if array != "{}" else []


def _read(name: str, array: str) -> Sequence[Any]:
    return texts_of(array) if name in ("instance_key", "name") else bigints_of(array)


def rows_of(argument: str) -> list[dict[str, Any]]:
    """PostgreSQL's reading of `Layout.source`: every row with all its columns."""
    found = []
    for group in json.loads(argument):
        own = {name: _read(name, group[name]) for name in OWN if name in group}
        (count,) = {len(values) for values in own.values()}
        differing = group.get("differing") or [{}] * count
        assert len(differing) == count
        for place, each in enumerate(differing):
            assert all(group[name] is None for name in each)
            row = group | each | {name: values[place] for name, values in own.items()}
            row.pop("differing", None)
            found.append(row)
    return found


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
    values = dict.fromkeys(PROCESS_PROPERTIES) | {
        "bk_process_name": draw(st.sampled_from("ab")),
        "work_path": draw(st.sampled_from([None, "", "/data"])),
        "auto_start": draw(st.none() | st.booleans()),
        "proc_num": draw(st.sampled_from([None, 0, 1])),
    }
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
            asked_values = [process.values[property_] for property_ in _ASKED]
            processes[(id_, instance, 1000 + instance, template, *asked_values)] += 1
            binds.update((1000 + instance, id_, *row, place) for place, row in enumerate(process.bind_info))

    _, sent_processes, sent_binds = map(rows_of, rows.arguments())

    assert count == processes.total() + binds.total()
    of_process = itemgetter("bk_process_id", "service_instance_id", "bk_host_id", "process_template_id", *_ASKED)
    assert processes == Counter(map(of_process, sent_processes))
    of_bind = itemgetter("bk_host_id", "bk_process_id", *PlannedBind._fields, "position")
    assert binds == Counter(map(of_bind, sent_binds))
