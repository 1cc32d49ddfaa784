"""What an earlier version accepted is run by this one."""

import asyncio
import json
from pathlib import Path
from typing import Any

from contract.message import build_message, make_celery
from contract.redis.connection import connect
from contract.redis.records import PendingEntry
from contract.redis.requests import Requests
from contract.settings import Settings
from tests.acceptance.calls import finish

ENTRIES = Path(__file__).parents[1] / "data" / "pending-entries-7e956a3.jsonl"


def test_pending_entries_of_7e956a3_run_after_an_upgrade(stack: Any) -> None:
    stored = ENTRIES.read_bytes().splitlines()
    asyncio.run(_reserve(Settings(redis_url=stack.redis), stored))

    reports = [finish(stack.http, json.loads(entry)["request_id"]) for entry in stored]

    assert [report["status"] for report in reports] == ["SUCCESS"] * len(stored)
    assert [len(report["data"]) for report in reports] == [
        len(json.loads(entry)["batch"]["instances"]) for entry in stored
    ]
    assert [warning["reason"] for warning in reports[-1]["warnings"]] == ["unknown_field"]


async def _reserve(settings: Settings, stored: list[bytes]) -> None:
    """As the submitter of that version did, whose script was this one."""
    client, celery = connect(settings), make_celery(settings)
    for payload in stored:
        values = json.loads(payload)
        request_id, batch = values["request_id"], values["batch"]
        count = len(batch["instances"])
        entry = PendingEntry(request_id, "", payload, "d" * 64, batch["bk_biz_id"], batch["bk_module_id"], count, "s")
        await Requests(client, settings).submit(entry, build_message(celery, request_id, "s"))
    await client.aclose()
    celery.close()
