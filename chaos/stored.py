"""Read what is stored in the end, for the judge."""

from collections import Counter

import asyncpg
import orjson
import redis.asyncio as aioredis

from chaos.history import Stored
from chaos.model import Row
from contract.redis.records import Keys
from contract.settings import Settings
from devstack.sql import fetch


async def read_stored(dsn: str) -> Stored:
    """Everything in one snapshot."""
    connection = await asyncpg.connect(dsn)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            instances = await connection.fetch(
                "SELECT id, bk_module_id, bk_host_id, instance_key FROM service_instance"
            )
            processes = await connection.fetch(
                "SELECT bk_process_id, service_instance_id, bk_process_name AS name FROM process"
            )
            binds = await connection.fetch("SELECT bk_process_id, template_row_id, port FROM process_bind_info")
            audits = await connection.fetch("SELECT request_id, created_ids FROM audit_log")
            ledger = await connection.fetch("SELECT request_id, status FROM request_ledger")
    finally:
        await connection.close()
    keys: dict[int, Row] = {row["id"]: tuple(row)[1:] for row in instances}
    names: dict[int, Row] = {
        row["bk_process_id"]: (*keys[row["service_instance_id"]], row["name"]) for row in processes
    }
    rows: Counter[Row] = Counter([*keys.values(), *names.values()])
    rows.update((*names[row["bk_process_id"]], row["template_row_id"], row["port"]) for row in binds)
    return Stored(
        rows,
        keys,
        {row["request_id"]: row["created_ids"] for row in audits},
        {row["request_id"]: row["status"] for row in ledger},
    )


async def read_known_ids(dsn: str) -> dict[Row, int]:
    """CMDB's id of each instance that it is known to have, by natural key."""
    rows = await fetch(
        dsn,
        "SELECT bk_module_id, bk_host_id, instance_key, cmdb_id FROM service_instance s"
        " JOIN cmdb_instance l ON l.service_instance_id = s.id WHERE l.gone_at IS NULL",
    )
    return {tuple(row)[:3]: row["cmdb_id"] for row in rows}


async def count_undelivered(dsn: str) -> dict[str, int]:
    """Requests whose rows CMDB is still to have, or does not take, by status."""
    rows = await fetch(dsn, "SELECT status, count(*) AS n FROM delivery GROUP BY status")
    return {row["status"]: row["n"] for row in rows}


async def outdated_reports(dsn: str, redis_url: str) -> list[str]:
    """Requests of which Redis tells another story than the ledger, in words: callers would be told it for a day."""
    rows = await fetch(dsn, "SELECT request_id, report FROM request_ledger WHERE report IS NOT NULL")
    keys = Keys(Settings().key_prefix)
    async with aioredis.Redis.from_url(redis_url) as client:
        found = await client.mget(keys.result(row["request_id"]) for row in rows) if rows else []
    pairs = [(orjson.loads(row["report"]), orjson.loads(told)) for row, told in zip(rows, found, strict=True) if told]
    return [
        f"{stored['request_id']}: Redis says {told['status']} ({told.get('delivery')}), and the ledger"
        f" {stored['status']} ({stored.get('delivery')})"
        for stored, told in pairs
        if told != stored
    ]
