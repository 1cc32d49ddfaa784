"""Plans as the rules make them, and everything that is stored, for tests of the store."""

import uuid
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from contract.answer.report import Report
from contract.answer.status import Item
from contract.message import Caller
from contract.request.batch import PROCESS_PROPERTIES
from worker.expand.catalogue import Host
from worker.expand.plan import Plan, PlannedBind, PlannedInstance, PlannedProcess
from worker.postgres.draft import WriteRequest
from worker.postgres.engine import driver_connection

BIZ, MODULE, TEMPLATE = 1, 60, 7
CALLER = Caller(bk_app_code="esb_test", bk_username="admin", bk_supplier_account="0")
NOW = datetime(2026, 11, 24, 7, 0, tzinfo=UTC)


def bind(row: int, port: str = "") -> PlannedBind:
    return PlannedBind(row, "127.0.0.1", port or str(8000 + row), "1", enable=True)


def process(number: int, rows: Iterable[PlannedBind] = (), *, bound: bool = True, **values: Any) -> PlannedProcess:
    defaults = {name: rule.default for name, rule in PROCESS_PROPERTIES.items()}
    names = {"bk_process_name": f"job_{number}", "bk_func_name": f"java_{number}", "timeout": 30}
    return PlannedProcess(number if bound else 0, defaults | names | values, tuple(rows), item=number - 1)


def two_by_two() -> tuple[PlannedProcess, ...]:
    return process(1, (bind(1), bind(2))), process(2, (bind(1), bind(2)))


def plan(
    hosts: Sequence[int],
    processes: Sequence[PlannedProcess] | None = None,
    *,
    module: int = MODULE,
    template: int = TEMPLATE,
    keys: Sequence[str] | None = None,
) -> Plan:
    """One instance for each host; `keys` make it a plan of an unbound module."""
    instances = tuple(
        PlannedInstance(
            index,
            host,
            keys[index] if keys else "",
            f"10.0.0.{host}_job_1_8001",
            tuple(processes or two_by_two()),
            place=0,
        )
        for index, host in enumerate(hosts)
    )
    return Plan(BIZ, module, 0 if keys else template, instances)


def request(plan: Plan, request_id: str = "", **changes: Any) -> WriteRequest:
    """A request whose report is made as the worker makes it."""
    id_ = request_id or uuid.uuid4().hex

    def build_report(items: Sequence[Item]) -> Report:
        return Report.settled(
            items, request_id=id_, bk_biz_id=plan.bk_biz_id, bk_module_id=plan.bk_module_id, created_at=NOW
        )

    hosts = {planned.bk_host_id: Host(planned.bk_host_id, f"10.0.0.{planned.bk_host_id}") for planned in plan.instances}
    return WriteRequest(id_, plan, CALLER, build_report, **({"hosts": hosts} | changes))


def outcomes(report: Report | None) -> list[str]:
    assert report is not None
    return [item["outcome"].value for item in report.items]


async def fetch(engine: AsyncEngine, sql: str, *args: Any) -> list[tuple[Any, ...]]:
    async with driver_connection(engine) as driver:
        return [tuple(row) for row in await driver.fetch(sql, *args)]


async def stored(engine: AsyncEngine) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of a service instance, by table."""
    tables = {"service_instance": "1", "process": "1", "process_bind_info": "1, 2, 3"}
    return {table: await fetch(engine, f"SELECT * FROM {table} ORDER BY {order}") for table, order in tables.items()}


async def counts(engine: AsyncEngine) -> dict[str, int]:
    """How many rows each table has."""
    names = ("service_instance", "process", "process_bind_info", "audit_log", "request_ledger")
    return {name: (await fetch(engine, f"SELECT count(*) FROM {name}"))[0][0] for name in names}
