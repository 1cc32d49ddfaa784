"""What PostgreSQL keeps of ended requests, and for how long."""

import asyncio
from datetime import UTC, datetime

import pytest
from worker.retention import keep_to_retention

from contract.codes import Code, Refused
from contract.envelope import Report
from contract.message import new_request_id
from contract.settings import Settings
from tests.conftest import execute
from worker.store import ledger
from worker.store.engine import create_engine

pytestmark = pytest.mark.anyio


async def test_old_reports_go_and_leave_how_they_ended(anyio_backend: str, database: str) -> None:
    engine = create_engine(database)
    old, new = new_request_id(), new_request_id()
    for request_id in (old, new):
        about = {"request_id": request_id, "bk_biz_id": 1, "bk_module_id": 60, "created_at": datetime.now(tz=UTC)}
        await ledger.finish(engine, Report.failed(Refused(Code.MODULE_NOT_FOUND), [2], **about))
    aged = f"UPDATE request_ledger SET finished_at = now() - interval '31 days' WHERE request_id = '{old}'"
    await asyncio.to_thread(execute, database, aged)
    keeping = asyncio.create_task(keep_to_retention(engine, Settings()))
    try:
        async with asyncio.timeout(20):
            while (entry := await ledger.load(engine, old)) is None or entry.report is not None:
                await asyncio.sleep(0.02)
        kept = await ledger.load(engine, new)
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
        await engine.dispose()
    assert (entry.code, entry.status) == (1101034, "FAILED")
    assert kept is not None
    assert kept.report is not None
