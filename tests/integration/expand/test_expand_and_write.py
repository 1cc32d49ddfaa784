"""Requests expanded by the rules and written to a real PostgreSQL end in the rows of the in-memory model."""

import asyncio
import itertools
import random
from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.ext.asyncio import AsyncEngine

from contract.batch import PROCESS_PROPERTIES, ServiceInstanceBatch
from contract.parse import parse
from tests.integration.conftest import Run
from tests.integration.store.plans import fetch, outcomes, request
from tests.model import Model
from tests.strategies import AGREEING, OVERLAPPING, UNBOUND, bodies
from worker.expand.expand import expand
from worker.expand.plan import Plan
from worker.store.draft import WriteRequest
from worker.store.writes import Writer

KEY = "s.bk_module_id, s.bk_host_id, s.instance_key"
COLUMNS = sorted(PROCESS_PROPERTIES)

modules = itertools.count(1)
written_to_a_database = settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


async def stored_rows(engine: AsyncEngine, module: int) -> set[tuple[Any, ...]]:
    """What is stored in `module`, as `Model.rows` shows it."""
    properties = ", ".join(f'p."{name}"' for name in COLUMNS)
    of_module = "FROM service_instance s {} WHERE s.bk_module_id = $1"
    processes = "JOIN process p ON p.service_instance_id = s.id"
    binds = f"{processes} JOIN process_bind_info b USING (bk_process_id)"
    found: set[tuple[Any, ...]] = set(
        await fetch(engine, f"SELECT {KEY}, s.name, s.service_template_id {of_module.format('')}", module)
    )
    sql = f"SELECT {KEY}, p.bk_process_name, p.process_template_id, {properties} {of_module.format(processes)}"
    for row in await fetch(engine, sql, module):
        found.add((*row[:5], tuple(zip(COLUMNS, row[5:], strict=True))))
    columns = "b.template_row_id, b.ip, b.port, b.protocol, b.enable"
    sql = f"SELECT {KEY}, p.bk_process_name, {columns} {of_module.format(binds)}"
    return found | set(await fetch(engine, sql, module))


def expanded(body: dict[str, Any], module: int) -> tuple[ServiceInstanceBatch, Plan]:
    batch = parse(body).batch
    return batch, replace(expand(UNBOUND, batch, "r"), bk_module_id=module)


def write_request(batch: ServiceInstanceBatch, plan: Plan) -> WriteRequest:
    return request(plan, on_existing=batch.on_existing, mode=batch.mode, hosts=UNBOUND.hosts)


@written_to_a_database
@given(sent=st.lists(bodies(OVERLAPPING), min_size=1, max_size=5))
def test_one_after_the_other_ends_in_the_models_rows(
    run: Run, example_engine: AsyncEngine, sent: list[dict[str, Any]]
) -> None:
    module, model, writer = next(modules), Model(), Writer(example_engine)
    for body in sent:
        batch, plan = expanded(body, module)
        expected = model.apply(plan, on_existing=batch.on_existing, mode=batch.mode)
        if plan.instances and not (plan.refused and batch.mode == "atomic"):
            written = run(writer.write(write_request(batch, plan)))
            assert outcomes(written.report) == [
                outcome for index, outcome in enumerate(expected) if index not in plan.refused
            ]
    assert run(stored_rows(example_engine, module)) == model.rows()


@written_to_a_database
@given(sent=st.lists(bodies(AGREEING, on_existing=("reuse",)), min_size=2, max_size=5), seed=st.integers())
def test_agreeing_requests_at_once_end_in_the_models_rows(
    run: Run, example_engine: AsyncEngine, sent: list[dict[str, Any]], seed: int
) -> None:
    module, model = next(modules), Model()
    pairs = [expanded(body, module) for body in sent]
    for batch, plan in pairs:
        model.apply(plan, mode=batch.mode)
    wanted = [pair for pair in pairs if not (pair[1].refused and pair[0].mode == "atomic")] * 2
    random.Random(seed).shuffle(wanted)

    async def write() -> None:
        await asyncio.gather(*(Writer(example_engine).write(write_request(*pair)) for pair in wanted))

    run(write())
    assert run(stored_rows(example_engine, module)) == model.rows()
