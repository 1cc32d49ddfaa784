"""`bksi catalogue watch` as a process: the catalogue follows CMDB, whatever happens on the way."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from chaos.cmdb.exchange import refusal
from chaos.nursery import Child, Nursery
from contract.settings import Settings
from tests.integration.worker.catalogue.cmdb_server import CmdbServer
from tests.integration.worker.postgres.plans import fetch
from tests.unit.worker.catalogue.cmdb_items import service_instance
from worker.commands.doctor.examine import examine
from worker.commands.doctor.finding import Level

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def watching(
    database: str, cmdb: CmdbServer, nursery: Nursery, directory: Path, *, every: str = "0.2"
) -> AsyncIterator[Child]:
    command = ("catalogue", "watch", "--biz", "1", "--every", every, "--instances")
    env = {"BKSI_POSTGRES_DSN": database, "BKSI_CMDB_URL": cmdb.url}
    process = nursery.spawn(*command, environment=env, log=directory / "watch.log")
    try:
        yield process
    finally:
        await asyncio.to_thread(process.stop)


async def until(engine: AsyncEngine, sql: str, wanted: Any, process: Child) -> None:
    async with asyncio.timeout(60):
        while await fetch(engine, sql) != [(wanted,)]:
            assert process.returncode is None, process.tail()
            await asyncio.sleep(0.05)


async def test_catalogue_and_instances_follow_cmdb_through_its_refusals(
    cmdb: CmdbServer, engine: AsyncEngine, database: str, nursery: Nursery, tmp_path: Path
) -> None:
    cmdb.fill(templates=1, modules=3, hosts=30, hosts_per_module=2)
    cmdb.instances = [service_instance(72, 2)]
    async with watching(database, cmdb, nursery, tmp_path) as process:
        await until(engine, "SELECT count(*) FROM cmdb_instance WHERE gone_at IS NULL", 1, process)
        cmdb.before = lambda call: refusal(9900403, "no permission")
        asked = len(cmdb.calls)
        while len(cmdb.calls) < asked + 2:
            await asyncio.sleep(0.05)
        cmdb.hosts_of[2].append(29)
        cmdb.instances = []
        cmdb.before = lambda call: None
        await until(engine, "SELECT count(*) FROM module_host_relation WHERE bk_host_id = 29", 1, process)
        await until(engine, "SELECT count(*) FROM cmdb_instance WHERE gone_at IS NULL", 0, process)
    assert process.returncode == 0
    assert "9900403" in process.log.read_text()
    assert "Traceback" not in process.log.read_text()


async def test_doctor_says_how_old_what_was_pulled_is(engine: AsyncEngine, database: str, redis_url: str) -> None:
    await fetch(engine, "INSERT INTO cmdb_pull VALUES (1, 'catalogue', now(), 0, 0, false, now())")
    await fetch(engine, "INSERT INTO cmdb_pull VALUES (1, 'instances', now(), 0, 0, false, now() - interval '3 hours')")
    findings = {one.check: one for one in await examine(Settings(redis_url=redis_url, postgres_dsn=database))}
    assert findings["catalogue age"].level is Level.OK
    assert findings["instances age"].level is Level.WARNING
    assert "180 minutes" in findings["instances age"].found


async def test_what_cmdb_tells_is_pulled_at_once_and_its_cursor_may_expire(
    cmdb: CmdbServer, engine: AsyncEngine, database: str, nursery: Nursery, tmp_path: Path
) -> None:
    relations = "SELECT count(*) FROM module_host_relation WHERE bk_host_id = 29"
    cmdb.fill(templates=1, modules=3, hosts=30, hosts_per_module=2)
    async with watching(database, cmdb, nursery, tmp_path, every="3600") as process:
        await until(engine, "SELECT count(*) FROM cmdb_pull WHERE what = 'instances' AND NOT is_under_way", 1, process)
        while not any(call.body.get("bk_cursor") for call in cmdb.calls):
            await asyncio.sleep(0.05)
        cmdb.hosts_of[2].append(29)
        cmdb.events.append({"bk_biz_id": 1, "bk_host_id": 29, "bk_module_id": 2})
        await until(engine, relations, 1, process)
        cmdb.hosts_of[3].append(29)
        cmdb.before = lambda call: refusal(1199006, "cursor") if call.body.get("bk_cursor") else None
        await until(engine, relations, 2, process)
