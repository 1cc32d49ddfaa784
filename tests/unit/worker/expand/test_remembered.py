"""What came of one request is not what comes of another that only looks like it."""

from dataclasses import replace
from typing import Any

import pytest

from tests.unit.worker.expand.builders import (
    bind,
    bound,
    free,
    instance,
    locked,
    named,
    plan,
    process,
    template,
    unbound,
)
from worker.expand.expand import CatalogueSlice
from worker.expand.plan import Plan


def values(expanded: Plan, name: str) -> list[object]:
    return [process.values[name] for planned in expanded.instances for process in planned.processes]


def test_same_processes_under_another_template_are_worked_out_anew() -> None:
    asked = process(1, timeout=30)
    free_to_choose, fixed = bound(template(1, timeout=free(5))), bound(template(1, timeout=locked(5)))
    for _ in range(2):
        assert values(plan(free_to_choose, instance(1, asked)), "timeout") == [30]
        assert values(plan(fixed, instance(2, asked)), "timeout") == [5]


def test_same_processes_in_a_module_with_and_without_template() -> None:
    asked = named(timeout=30)
    for _ in range(2):
        assert values(plan(unbound(), instance(1, asked)), "bk_process_name") == ["nginx"]
        assert values(plan(bound(template(1)), instance(1, asked)), "bk_process_name") == ["process1"]


def test_what_depends_on_the_host_is_worked_out_for_each() -> None:
    inner = bound(template(1, bind(1, ip=free("3"))))
    found = [plan(inner, instance(host, process(1))) for host in (1, 2)]
    assert [one.instances[0].processes[0].bind_info[0].ip for one in found] == ["10.0.0.1", "10.0.0.2"]


def test_what_is_overruled_is_said_each_time() -> None:
    catalogue = bound(template(1, timeout=locked(5)))
    warnings = [plan(catalogue, instance(1, process(1, timeout=30))).warnings for _ in range(2)]
    assert warnings[0] == warnings[1] != ()


@pytest.mark.parametrize("count", [1, 10, 11])
def test_every_instance_has_its_own_name_and_host(count: int) -> None:
    catalogue = replace(bound(template(1)), hosts=bound().hosts)
    found = plan(catalogue, *(instance(host % 9 + 1, process(1)) for host in range(min(count, 9))))
    assert [planned.bk_host_id for planned in found.instances] == [host % 9 + 1 for host in range(min(count, 9))]
    assert len({planned.name for planned in found.instances}) == len(found.instances)


def test_null_and_absent_are_not_taken_for_each_other_within_a_request() -> None:
    sent = [{"user": None}, {}, {"description": None}, {"bind_info": []}, {"user": None, "description": None}]

    def users_and_descriptions(catalogue: CatalogueSlice, wanted: list[dict[str, Any]]) -> list[tuple[object, object]]:
        expanded = plan(catalogue, *(instance(host, info) for host, info in enumerate(wanted, 1)))
        return list(zip(values(expanded, "user"), values(expanded, "description"), strict=True))

    kept = bound(template(1, user=free("root"), description=free("kept")))
    in_bound = users_and_descriptions(kept, [process(1, **info) for info in sent])
    in_unbound = users_and_descriptions(unbound(), [named(**info) for info in sent])

    assert in_bound == [(None, "kept"), ("root", "kept"), ("root", None), ("root", "kept"), (None, None)]
    assert in_unbound == [(None, ""), ("", ""), ("", None), ("", ""), (None, None)]
