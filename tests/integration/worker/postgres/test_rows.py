import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.integration.worker.postgres.plans import CALLER, fetch, plan, request, two_by_two
from worker.postgres.rows import read_instance, read_request
from worker.postgres.writer import Writer

pytestmark = pytest.mark.anyio


async def test_instance_is_read_back_in_cmdbs_shape(writer: Writer, engine: AsyncEngine) -> None:
    asked = request(plan([2, 3]))
    await writer.write(asked)

    instance = await read_instance(engine, 2)

    assert instance is not None
    assert (instance["id"], instance["bk_host_id"], instance["name"]) == (2, 3, "10.0.0.3_job_1_8001")
    assert instance["creator"] == CALLER.bk_username
    pairs = instance["process_instances"]
    assert [pair["process"]["bk_process_name"] for pair in pairs] == ["job_1", "job_2"]
    assert pairs[0]["process"]["bind_info"] == [
        {"template_row_id": 1, "ip": "127.0.0.1", "port": "8001", "protocol": "1", "enable": True},
        {"template_row_id": 2, "ip": "127.0.0.1", "port": "8002", "protocol": "1", "enable": True},
    ]
    (view,) = await fetch(engine, "SELECT * FROM process_instance_relation WHERE bk_process_id = 3")
    assert tuple(pairs[0]["relation"].values()) == view


async def test_unknown_instance_and_request_are_none(engine: AsyncEngine) -> None:
    assert await read_instance(engine, 99) is None
    assert await read_request(engine, "0" * 32) is None


async def test_request_is_read_back_with_what_it_created_and_healed(writer: Writer, engine: AsyncEngine) -> None:
    await writer.write(request(plan([1], two_by_two()[:1])))
    asked = request(plan([1, 2]))
    await writer.write(asked)
    repeat = request(plan([1, 2]))
    await writer.write(repeat)

    found = await read_request(engine, asked.request_id)
    nothing_new = await read_request(engine, repeat.request_id)

    assert found is not None
    assert found["ledger"]["status"] == "SUCCESS"
    assert (found["audit"]["created_ids"], found["audit"]["healed_ids"]) == ([2], [1])
    assert [instance["bk_host_id"] for instance in found["service_instances"]] == [1, 2]
    assert nothing_new is not None
    assert nothing_new["audit"] is None
    assert nothing_new["service_instances"] == []
