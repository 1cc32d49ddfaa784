"""Any requests, in any order and at any concurrency, end in the plain model's rows, and are answered as it answers."""

import asyncio
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from sqlalchemy.ext.asyncio import AsyncEngine

from contract.codes import Refused
from contract.request.batch import PROCESS_PROPERTIES, ServiceInstanceBatch
from contract.request.parse import parse
from tests.integration.conftest import Run
from tests.integration.worker.postgres.plans import fetch, outcomes, request
from tests.model import Model
from tests.strategies import HOSTS, Asked, examples, overlapping, thousand
from worker.expand.expand import expand
from worker.expand.plan import Plan
from worker.postgres.draft import WriteRequest
from worker.postgres.errors import DatabaseError
from worker.postgres.writer import Writer, Written

COLUMNS = sorted(PROCESS_PROPERTIES)
_PROPERTIES = ", ".join(f'p."{name}"' for name in COLUMNS)
ROWS = f"""
SELECT s.bk_module_id, s.bk_host_id, s.instance_key, s.name, s.service_template_id,
       p.bk_process_name, p.process_template_id, b.template_row_id, b.ip, b.port, b.protocol, b.enable, {_PROPERTIES}
FROM service_instance s
LEFT JOIN process p ON p.service_instance_id = s.id
LEFT JOIN process_bind_info b ON b.bk_host_id = p.bk_host_id AND b.bk_process_id = p.bk_process_id
WHERE s.bk_module_id = $1
"""

# Each example has a module of its own in one database: nothing has to be emptied between a thousand of them.
modules = itertools.count(1)
in_one_database = settings(thousand, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


@pytest.fixture
def writers(example_engine: AsyncEngine) -> list[Writer]:
    """As many workers as requests come at once."""
    return [Writer(example_engine) for _ in range(4)]


class Sent(NamedTuple):
    """A request that reaches the store."""

    plan: Plan
    batch: ServiceInstanceBatch

    def to_write(self) -> WriteRequest:
        return request(self.plan, on_existing=self.batch.on_existing, mode=self.batch.mode, hosts=HOSTS)

    def apply(self, model: Model) -> list[str]:
        """What the model makes of the instances that the store is asked to write."""
        found = model.apply(self.plan, on_existing=self.batch.on_existing, mode=self.batch.mode)
        return [outcome for index, outcome in enumerate(found) if index not in self.plan.refused]


def sent(requests: list[Asked]) -> list[Sent]:
    """The requests as a worker hands them to the store, all to one new module; refused ones never get there."""
    module = next(modules)
    return [one for number, asked in enumerate(requests) for one in _sent(module, number, asked)]


def _sent(module: int, number: int, asked: Asked) -> Iterator[Sent]:
    seen, body = asked
    batch = parse(body).batch
    try:
        plan = replace(expand(seen, batch, f"r{number}"), bk_module_id=module)
    except Refused:
        return
    if plan.instances and not (plan.refused and batch.mode == "atomic"):
        yield Sent(plan, batch)


async def stored_rows(engine: AsyncEngine, module: int) -> set[tuple[Any, ...]]:
    """What is stored in `module`, as `Model.rows` shows it."""
    found: set[tuple[Any, ...]] = set()
    for row in await fetch(engine, ROWS, module):
        key, name, (process, template), bind = row[:3], row[3:5], row[5:7], row[7:12]
        found.add((*key, *name))
        if process is not None:
            found.add((*key, process, template, tuple(zip(COLUMNS, row[12:], strict=True))))
        if bind[0] is not None:
            found.add((*key, process, *bind))
    return found


def answers(written: Sequence[Written | DatabaseError]) -> list[list[str]]:
    """The outcomes of each request; the error of one that failed."""
    found = []
    for one in written:
        if isinstance(one, DatabaseError):
            raise one
        found.append(outcomes(one.report))
    return found


def explains(order: Sequence[int], all_sent: Sequence[Sent], rows: set[tuple[Any, ...]], said: list[list[str]]) -> bool:
    """Whether the model, which takes one request after the other in this order, ends like this and answers the same."""
    model = Model()
    return all(all_sent[index].apply(model) == said[index] for index in order) and model.rows() == rows


@in_one_database
@given(requests=examples(overlapping(most=5)))
def test_one_after_the_other_ends_in_the_models_rows(
    run: Run, example_engine: AsyncEngine, writers: list[Writer], requests: list[Asked]
) -> None:
    all_sent, model = sent(requests), Model()

    async def write() -> set[tuple[Any, ...]]:
        for one in all_sent:
            assert answers([await writers[0].write(one.to_write())]) == [one.apply(model)]
        return await stored_rows(example_engine, all_sent[0].plan.bk_module_id) if all_sent else set()

    assert run(write()) == model.rows()


@pytest.mark.parametrize("as_group", [False, True], ids=["at once", "as one group"])
@in_one_database
@given(requests=examples(overlapping(most=4, least=2)))
def test_all_together_end_as_in_some_order(
    run: Run, example_engine: AsyncEngine, writers: list[Writer], requests: list[Asked], *, as_group: bool
) -> None:
    """Several workers at once, or one that commits a group: the outcome is that of an order of single requests."""
    all_sent = sent(requests)
    if not all_sent:
        return
    wanted = [one.to_write() for one in all_sent]

    async def write() -> tuple[list[list[str]], set[tuple[Any, ...]]]:
        if as_group:
            written: Sequence[Written | DatabaseError] = await writers[0].write_group(wanted)
        else:
            written = await asyncio.gather(*map(Writer.write, writers, wanted))
        return answers(written), await stored_rows(example_engine, all_sent[0].plan.bk_module_id)

    said, rows = run(write())

    assert any(explains(order, all_sent, rows, said) for order in itertools.permutations(range(len(all_sent))))
