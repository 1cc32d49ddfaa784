"""What docker-compose.yml's Redis holds after it was killed, on the server at hand (`make test-matrix`: Debian's)."""

import re
import uuid
from pathlib import Path

import pytest
from redis.exceptions import ResponseError

from contract.answer.report import Report
from contract.answer.status import Status
from contract.message import QUEUE_NAME, Caller
from contract.redis.connection import connect
from contract.redis.records import PendingEntry
from contract.redis.replay import DEFAULT_USER, Replay, examine_replay, written_by_scripts
from contract.redis.safety import UnsafeRedis, require_safe_redis
from contract.request.batch import ServiceInstanceBatch
from contract.settings import Settings
from devstack.process import Guard
from tests.compose_redis import ComposeRedis
from tests.lua import lua_files
from worker.custody.leases import Leases

pytestmark = pytest.mark.anyio

CALLER = Caller(bk_app_code="app")
BATCH = ServiceInstanceBatch(bk_biz_id=1, bk_module_id=60, processes=[], instances=[(2, None, None)])
RIGHTS = f"--{DEFAULT_USER}"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def written(server: ComposeRedis) -> list[str]:
    """Four requests: one waits, one is leased, one has ended, one was handed back."""
    client = connect(Settings(redis_url=server.url))
    requests, ids = Leases(client, Settings()), [uuid.uuid4().hex for _ in range(4)]
    for request_id in ids:
        await requests.submit(PendingEntry.of(request_id, BATCH, CALLER), b"message", request_id)
    for request_id in ids[1:]:
        lease = await requests.lease(request_id, "token")
    await requests.publish(
        Report(request_id=ids[2], bk_app_code="app", bk_biz_id=1, bk_module_id=60, status=Status.SUCCESS,
               data=[1], created_at=await requests.now())
    )  # fmt: skip
    assert await requests.hand_back(lease, b"again", count_attempt=True)
    await client.aclose()
    return ids


async def kept(server: ComposeRedis, ids: list[str]) -> list[str | None]:
    """What is known of them, and that the set and the queue say the same."""
    client = connect(Settings(redis_url=server.url))
    requests = Leases(client, Settings())
    reports = await requests.load_many(ids)
    unfinished = {
        report.request_id for report in reports if report and report.status in (Status.PENDING, Status.RUNNING)
    }
    assert {id_.decode() for id_ in await client.zrange(requests.keys.pending, 0, -1)} == unfinished
    assert await client.llen(QUEUE_NAME) == (5 if unfinished else 0)
    await client.aclose()
    return [report and report.status for report in reports]


async def test_redis_of_the_compose_file_keeps_what_was_accepted_when_it_is_killed(
    guard: Guard, tmp_path: Path
) -> None:
    with ComposeRedis(tmp_path, guard) as server:
        await require_safe_redis(Settings(redis_url=server.url))
        ids = await written(server)
        for _ in range(2):
            server.kill()
            server.start()
            assert await kept(server, ids) == ["PENDING", "RUNNING", "SUCCESS", "PENDING"]


async def test_redis_whose_default_user_has_no_rights_is_refused_exactly_where_it_loses(
    guard: Guard, tmp_path: Path
) -> None:
    """Whether it loses is the server's doing, and is tried; the refusal must say the same beforehand."""

    def bare(command: str) -> str:
        assert RIGHTS in command
        return command.replace(RIGHTS, "--user default off")

    with ComposeRedis(tmp_path, guard, bare) as server:
        refusal = None
        try:
            await require_safe_redis(Settings(redis_url=server.url))
        except UnsafeRedis as unsafe:
            refusal = str(unsafe)
        ids = await written(server)
        server.kill()
        server.start()
        loses = await kept(server, ids) != ["PENDING", "RUNNING", "SUCCESS", "PENDING"]

    assert loses == (refusal is not None), refusal
    if refusal:
        assert DEFAULT_USER in refusal
        assert server.password not in refusal


async def test_user_who_may_not_ask_is_told_that_nobody_knows(guard: Guard, tmp_path: Path) -> None:
    with ComposeRedis(tmp_path, guard, lambda command: command.replace('"+acl|dryrun"', "")) as server:
        client = connect(Settings(redis_url=server.url))
        info = await client.info()
        old = {**info, "valkey_version": "9.1.1"}
        assert await examine_replay(client, Settings(), old) is Replay.NOT_TOLD
        assert await examine_replay(client, Settings(), {**old, "aof_enabled": 0}) is Replay.KEEPS
        assert await examine_replay(client, Settings(), {**info, "valkey_version": "9.1.2"}) is Replay.KEEPS
        await require_safe_redis(Settings(redis_url=server.url))
        await client.aclose()


def test_every_command_that_a_script_writes_with_is_asked_for() -> None:
    called = {name for text in lua_files().values() for name in re.findall(r"redis\.call\('([A-Z]+)'", text)}
    only_reads = {"TIME", "GET", "EXISTS", "HEXISTS", "HGET", "HMGET", "HKEYS", "ZCARD", "ZCOUNT", "ZRANGE"}
    only_reads |= {
        "ZREVRANGE",
        "ZREVRANK",
        "PTTL",
        "HGETALL",
        "ZSCORE",
        "GETRANGE",
        "LINDEX",
        "LLEN",
        "LRANGE",
        "TYPE",
        "PUBLISH",
    }
    assert called - only_reads <= {command[0] for command in written_by_scripts("bksi:")}


async def test_examples_are_commands_that_the_server_knows(guard: Guard, tmp_path: Path) -> None:
    with ComposeRedis(tmp_path, guard) as server:
        client = connect(Settings(redis_url=server.url))
        for command in written_by_scripts("bksi:"):
            try:
                assert await client.execute_command("ACL", "DRYRUN", "default", *command) == b"OK"
            except ResponseError as error:
                pytest.fail(f"{command}: {error}")
        await client.aclose()
