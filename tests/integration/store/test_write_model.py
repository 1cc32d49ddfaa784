"""Any sequence of overlapping requests ends in the rows of a plain model: what came first stays, the rest is added."""

import asyncio
import itertools

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.ext.asyncio import AsyncEngine

from contract.envelope import Report
from tests.integration.conftest import Run
from tests.integration.store.plans import bind, fetch, plan, process, request
from worker.expand.plan import PlannedProcess
from worker.store.draft import WriteRequest
from worker.store.writes import Writer, Written

Model = dict[tuple[int, int], tuple[int, dict[int, str]]]
"""(bk_host_id, process_template_id) → (timeout, {template_row_id: port})."""

Asked = tuple[list[int], list[PlannedProcess]]

_modules = itertools.count(1)

processes = st.builds(
    lambda template, timeout, rows: process(
        template, [bind(row, port) for row, port in sorted(rows.items())], timeout=timeout
    ),
    st.integers(1, 3),
    st.integers(1, 3),
    st.dictionaries(st.integers(1, 3), st.sampled_from(["80", "443", "8000-8010"])),
)
asked = st.tuples(
    st.lists(st.integers(1, 4), min_size=1, max_size=4, unique=True),
    st.lists(processes, min_size=1, max_size=3, unique_by=lambda one: one.process_template_id),
)
many_examples = settings(
    max_examples=350, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


def requests(module: int, sent: list[Asked]) -> list[WriteRequest]:
    return [request(plan(hosts, wanted, module=module)) for hosts, wanted in sent]


def model_of(sent: list[Asked]) -> Model:
    rows: Model = {}
    for hosts, wanted in sent:
        for host in hosts:
            for one in wanted:
                _, binds = rows.setdefault((host, one.process_template_id), (one.values["timeout"], {}))
                for row in one.bind_info:
                    binds.setdefault(row.template_row_id, row.port)
    return rows


async def rows_of(engine: AsyncEngine, module: int) -> Model:
    rows: Model = {}
    for host, template, timeout, row, port in await fetch(
        engine,
        "SELECT p.bk_host_id, process_template_id, timeout, template_row_id, port"
        " FROM service_instance s JOIN process p ON service_instance_id = s.id"
        " LEFT JOIN process_bind_info b ON b.bk_process_id = p.bk_process_id WHERE bk_module_id = $1",
        module,
    ):
        _, binds = rows.setdefault((host, template), (timeout, {}))
        if row is not None:
            binds[row] = port
    return rows


def ids_of(reports: list[Report | None]) -> set[tuple[int, int | None]]:
    return {(item.bk_host_id, item.service_instance_id) for report in reports if report for item in report.items}


@many_examples
@given(sent=st.lists(asked, min_size=1, max_size=6))
def test_one_after_the_other_ends_in_the_models_rows(run: Run, example_engine: AsyncEngine, sent: list[Asked]) -> None:
    module = next(_modules)

    async def write() -> list[Written]:
        writer = Writer(example_engine)
        return [await writer.write(one) for one in requests(module, sent)]

    written = run(write())

    assert run(rows_of(example_engine, module)) == model_of(sent)
    ids = ids_of([one.report for one in written])
    assert len(ids) == len({host for hosts, _ in sent for host in hosts})
    inserted = len(ids) + sum(1 + len(binds) for _, binds in model_of(sent).values())
    assert sum(one.rows for one in written) == inserted


@many_examples
@given(sent=st.lists(asked, min_size=2, max_size=6))
def test_all_at_once_ends_in_the_models_keys_and_nobody_fails(
    run: Run, example_engine: AsyncEngine, sent: list[Asked]
) -> None:
    module = next(_modules)

    async def write() -> list[Written]:
        return await asyncio.gather(*(Writer(example_engine).write(one) for one in requests(module, sent)))

    written = run(write())

    stored, model = run(rows_of(example_engine, module)), model_of(sent)
    assert {key: set(binds) for key, (_, binds) in stored.items()} == {
        key: set(binds) for key, (_, binds) in model.items()
    }
    assert len(ids_of([one.report for one in written])) == len({host for hosts, _ in sent for host in hosts})


@many_examples
@given(sent=st.lists(asked, min_size=2, max_size=6))
def test_as_one_group_ends_in_the_models_rows(run: Run, example_engine: AsyncEngine, sent: list[Asked]) -> None:
    """A group may take disjoint requests first, so keys are compared and not what came first."""
    module = next(_modules)

    written = run(Writer(example_engine).write_group(requests(module, sent)))

    assert all(isinstance(one, Written) for one in written)
    stored, model = run(rows_of(example_engine, module)), model_of(sent)
    assert {key: set(binds) for key, (_, binds) in stored.items()} == {
        key: set(binds) for key, (_, binds) in model.items()
    }
