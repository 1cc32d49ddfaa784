"""Time per batch in tables that hold millions of rows against empty ones: ``python -m benchmarks.growth``.

Two databases on one server, one empty, one filled beforehand, take the same batches in turn, one by one, so that what
disturbs the machine disturbs both. Autovacuum is on, as in production, and connections are opened before the tables
are filled as well as after: a plan that was made for a small table and kept must not become slow.

"append" uses hosts beyond all that exist, "random" hosts anywhere among them, in modules of their own.
"""

import argparse
import asyncio
import json
import random
import sys
import time
import uuid
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any

import asyncpg

from benchmarks import report
from benchmarks.measure import median_and_range, percentile
from benchmarks.session import ROOT, open_session
from benchmarks.shapes import BK_APP_CODE, BK_BIZ_ID, Shape
from contract.answer.report import Report
from contract.message import Caller
from contract.request.parse import parse
from worker.expand.bound import Expansion
from worker.expand.catalogue import Host, Module
from worker.expand.expand import CatalogueSlice, expand
from worker.expand.templates import parse_process_template
from worker.postgres.draft import WriteRequest
from worker.postgres.engine import create_engine
from worker.postgres.migrate import upgrade_async
from worker.postgres.writer import Writer

# What one INSERT adds: 100,000 instances, each with 2 processes of 2 bind rows. Ids below 10,000 are the writers'.
_STEP = 100_000
PARTITIONS = ROOT / "deploy" / "postgres" / "partition-by-business.sql"
_FILL = (
    """INSERT INTO service_instance
           (id, bk_biz_id, bk_module_id, bk_host_id, instance_key, service_template_id, name,
            creator, modifier, bk_supplier_account, request_id)
       SELECT 10000 + n, 7, 1 + n % 5000, n, '', 2002, 'filled-' || n, 'fill', 'fill', '0', 'fill'
       FROM generate_series($1::bigint, $2::bigint) AS n""",
    """INSERT INTO process
           (bk_process_id, service_instance_id, bk_biz_id, bk_host_id, process_template_id, bk_process_name,
            bk_func_name, start_cmd, stop_cmd, work_path, bk_supplier_account, bk_created_by)
       SELECT 10000 + n * 2 + p, 10000 + n, 7, n, 2002000 + p, 'service-' || p, 'service-' || p,
              './bin/start.sh --config etc/service.toml', './bin/stop.sh', '/data/bkee', '0', 'fill'
       FROM generate_series($1::bigint, $2::bigint) AS n, generate_series(0, 1) AS p""",
    """INSERT INTO process_bind_info (bk_host_id, bk_process_id, template_row_id, ip, port, protocol, enable)
       SELECT n, 10000 + n * 2 + p, r, '127.0.0.1', (8000 + p * 10 + r)::text, '1', true
       FROM generate_series($1::bigint, $2::bigint) AS n, generate_series(0, 1) AS p, generate_series(1, 2) AS r""",
)


async def fill(dsn: str, bind_rows: int) -> int:
    """Insert so many bind rows and what is above them; how many instances that are."""
    instances = bind_rows // 4
    connection = await asyncpg.connect(dsn)
    # Foreign keys are right by construction; checking them row by row would take most of the time.
    await connection.execute("SET session_replication_role = replica")
    for first in range(1, instances + 1, _STEP):
        for statement in _FILL:
            await connection.execute(statement, first, min(first + _STEP - 1, instances))
    for sequence in ("service_instance_id_block", "bk_process_id_block"):
        await connection.execute("SELECT setval($1::text::regclass, $2)", sequence, instances * 2 + 20_000)
    await connection.execute("VACUUM ANALYZE service_instance, process, process_bind_info")
    await connection.execute("CHECKPOINT")
    await connection.close()
    return instances


class Target:
    """One database and one connection that writes into it."""

    def __init__(self, dsn: str) -> None:
        self.engine = create_engine(dsn, connections=1, application_name="benchmark growth")
        self.writer = Writer(self.engine)

    async def write(self, shape: Shape, module: int, hosts: Sequence[int]) -> float:
        """Write one request; the milliseconds it took."""
        request = _request(shape, module, hosts)
        began = time.perf_counter()
        written = await self.writer.write(request)
        took = (time.perf_counter() - began) * 1000
        if written.rows != shape.rows:
            raise RuntimeError(f"{written.rows} rows were written instead of {shape.rows}")
        return took


def _request(shape: Shape, module: int, hosts: Sequence[int]) -> WriteRequest:
    body = json.loads(shape.body(0, 1))
    template = body["instances"][0]
    batch = parse(
        {"bk_biz_id": BK_BIZ_ID, "bk_module_id": module}
        | {"instances": [template | {"bk_host_id": host} for host in hosts]}
    ).batch
    request_id, now = uuid.uuid4().hex, datetime.now(tz=UTC)
    catalogue = CatalogueSlice(
        module=Module(module, BK_BIZ_ID, "growth", shape.service_template_id),
        service_template_biz_id=BK_BIZ_ID,
        expansions=tuple(Expansion(parse_process_template(row[0], json.loads(row[4]))) for row in shape.templates()),
        hosts={host: Host(host, "10.0.0.1") for host in hosts},
    )
    return WriteRequest(
        request_id=request_id,
        plan=expand(catalogue, batch, request_id),
        caller=Caller(bk_app_code=BK_APP_CODE, bk_username="benchmark"),
        build_report=lambda items: Report.settled(
            items,
            request_id=request_id,
            bk_app_code=BK_APP_CODE,
            bk_biz_id=BK_BIZ_ID,
            bk_module_id=module,
            created_at=now,
            finished_at=now,
        ),
    )


async def _measure(empty: str, full: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    for dsn in (empty, full):
        await upgrade_async(dsn)
    if options.partitioned:
        await _partition(full)
    async with AsyncExitStack() as stack:
        early = Target(full)  # its connection, and so its plans, are older than the rows
        await early.write(Shape(1), 10_000_001, [900_000_001])
        began = time.perf_counter()
        instances = await fill(full, options.bind_rows)
        print(f"{instances * 4:,} bind rows in {time.perf_counter() - began:.0f} s", file=sys.stderr)
        targets = {"empty": Target(empty), "full": Target(full), "full, old connection": early}
        for target in targets.values():
            stack.push_async_callback(target.engine.dispose)
        return [
            found
            for shape in (Shape(1), Shape(100))
            for kind in ("append", "random")
            for found in await _compare(targets, shape, kind, instances, options)
        ]


async def _partition(dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    await connection.execute(PARTITIONS.read_text())
    await connection.close()


async def _compare(
    targets: dict[str, Target], shape: Shape, kind: str, instances: int, options: argparse.Namespace
) -> list[dict[str, Any]]:
    times: dict[str, list[float]] = {name: [] for name in targets}
    for number in range(-options.warm_up, options.batches):
        if kind == "append":
            first = instances + 1_000_000 * shape.instances + (number + options.warm_up) * shape.instances
            hosts = list(range(first, first + shape.instances))
        else:
            hosts = random.sample(range(1, instances + 1), shape.instances)
        # The module is new to both databases, so the pair is new whatever the host.
        module = 20_000_000 + {"append": 0, "random": 5_000_000}[kind] + shape.instances * 10_000 + number
        for position, name in enumerate(random.sample(list(targets), len(targets))):
            took = await targets[name].write(shape, module + 10_000_000 * position, hosts)
            if number >= 0:
                times[name].append(took)
    baseline = median_and_range(times["empty"])[0]
    return [
        {
            "shape": str(shape),
            "hosts": kind,
            "tables": name,
            "median_ms": median_and_range(values)[0],
            "p99_ms": percentile(values, 99),
            "against_empty": median_and_range(values)[0] / baseline,
        }
        for name, values in times.items()
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Fill, measure, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__)
    parser.add_argument("--bind-rows", type=int, default=5_000_000)
    parser.add_argument("--batches", type=int, default=300, help="batches of each kind, for each database")
    parser.add_argument(
        "--partitioned", action="store_true", help="the full tables by business, as deploy/postgres says"
    )
    parser.add_argument("--warm-up", type=int, default=20)
    parser.add_argument("--out")
    options = parser.parse_args(arguments)
    with open_session([Shape(1)], 1, autovacuum=True) as session:
        empty, full = session.database("growth_empty"), session.database("growth_full")
        rows = asyncio.run(_measure(empty, full, options))
    for row in rows:
        print(
            f"{row['shape']:8} {row['hosts']:7} {row['tables']:21} {row['median_ms']:7.2f} ms"
            f"   p99 {row['p99_ms']:7.2f}   {row['against_empty']:.2f} x empty"
        )
    found = {
        "bind_rows": options.bind_rows,
        "partitioned": options.partitioned,
        "batches": options.batches,
        "rows": rows,
    }
    report.keep(found, options.out, "growth")


if __name__ == "__main__":
    main()
