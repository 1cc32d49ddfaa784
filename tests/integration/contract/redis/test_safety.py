"""Which Redis a process starts on."""

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest
import redis as redis_client

from contract.redis.connection import connect
from contract.redis.durability import Durability, examine_durability
from contract.redis.safety import UnsafeRedis, require_safe_redis
from contract.settings import Settings
from devstack.ports import free_port
from devstack.process import Guard, Process
from devstack.servers import Valkey
from plumbing.urls import is_local, without_secrets
from worker.commands.doctor.finding import Level
from worker.commands.doctor.redis import examine_redis

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_redis_as_it_should_be_is_taken(redis_url: str) -> None:
    await require_safe_redis(Settings(redis_url=redis_url))


@pytest.mark.parametrize("option", ["ssl_ca_certs", "ssl_certfile", "ssl_keyfile"])
async def test_file_of_the_url_that_cannot_be_read_is_named(option: str, tmp_path: Path) -> None:
    missing = tmp_path / "missing.pem"
    settings = Settings(redis_url=f"rediss://:CANARY@127.0.0.1:1/0?{option}={missing}")

    with pytest.raises(UnsafeRedis) as refused:
        await require_safe_redis(settings)

    assert str(refused.value) == f"rediss://127.0.0.1:1/0 cannot be used: {option} {missing} cannot be read"


async def test_redis_that_is_away_is_no_reason_not_to_start() -> None:
    await require_safe_redis(Settings(redis_url=f"redis://127.0.0.1:{free_port()}/0"))


async def test_redis_that_may_lose_what_it_has_confirmed_is_named_when_a_process_starts(
    redis_url: str, redis: "redis_client.Redis", capsys: pytest.CaptureFixture[str]
) -> None:
    async def warnings() -> list[str]:
        await require_safe_redis(Settings(redis_url=redis_url))
        return [line for line in capsys.readouterr().out.splitlines() if "warning" in line]

    assert await warnings() == []
    redis.config_set("appendfsync", "everysec")
    try:
        [said] = await warnings()
        redis.acl_setuser("default", enabled=True, commands=["-config|get"])
        assert await warnings() == [], "not everybody may ask"
        redis.acl_setuser("default", enabled=True, commands=["-info"])
        async with connect(Settings(redis_url=redis_url)) as asking:
            assert await examine_durability(asking) is Durability.NOT_TOLD
    finally:
        redis.acl_setuser("default", enabled=True, commands=["+config|get", "+info"])
        redis.config_set("appendfsync", "always")
    assert "appendfsync is everysec" in said
    assert "appendfsync always" in said
    with redis_client.Redis.from_url(redis_url) as nobody:
        off = await examine_durability(cast("Any", nobody), {"aof_enabled": 0})
        assert off.value.startswith("appendonly is off: a restart loses")
        assert not (await examine_durability(cast("Any", nobody), {})).is_known_to_lose, "a server that does not tell"


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl"])
async def test_redis_that_evicts_is_refused_as_ledger_and_as_queue(
    policy: str, redis_url: str, guard: Guard, tmp_path: Path
) -> None:
    with Valkey(tmp_path, guard, settings={"maxmemory-policy": policy}) as evicting:
        for settings in (Settings(redis_url=evicting.url), Settings(redis_url=redis_url, broker_url=evicting.url)):
            with pytest.raises(UnsafeRedis, match=policy) as refused:
                await require_safe_redis(settings)
            assert evicting.password not in str(refused.value)


async def test_node_of_a_cluster_is_refused_with_what_to_use_instead(guard: Guard, tmp_path: Path) -> None:
    """With all slots it answers everything but scripts; before it was told so, `bksi doctor` found nothing wrong."""
    with Valkey(tmp_path, guard, settings={"cluster-enabled": "yes"}) as node:
        with redis_client.Redis.from_url(node.url) as operator:
            operator.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            while operator.cluster("INFO")["cluster_state"] != "ok":
                await asyncio.sleep(0.05)
        with pytest.raises(UnsafeRedis, match=r"Redis Cluster\. Use one Redis"):
            await require_safe_redis(Settings(redis_url=node.url))
        findings = {finding.check: finding async for finding in examine_redis(Settings(redis_url=node.url))}
        assert findings["redis"].level is Level.ERROR
        assert "cluster" in findings["redis"].found


async def test_sentinel_is_refused_with_what_to_put_in_front(guard: Guard, tmp_path: Path) -> None:
    port, configuration = free_port(), tmp_path / "sentinel.conf"
    configuration.write_text(f"port {port}\nbind 127.0.0.1\nsentinel monitor mymaster 127.0.0.1 1 1\n")
    url = f"redis://127.0.0.1:{port}/0"
    command = [Valkey.program(), configuration, "--sentinel"]
    with Process("sentinel", command, log=tmp_path / "log", guard=guard) as sentinel:
        sentinel.wait_until(lambda: "Sentinel ID is" in sentinel.tail(), timeout_s=30)
        with pytest.raises(UnsafeRedis, match=r"is a Sentinel\..*HAProxy"):
            await require_safe_redis(Settings(redis_url=url))
        finding, *_ = [finding async for finding in examine_redis(Settings(redis_url=url))]
        assert (finding.level, "Sentinel" in finding.found, "HAProxy" in finding.mend) == (Level.ERROR, True, True)


@pytest.mark.parametrize("url", ["redis://redis.invalid/0", "redis://user@192.0.2.1:6379", "rediss://[2001:db8::1]/0"])
@pytest.mark.bad_input(
    103, "a Redis elsewhere that needs no password", "neither server nor worker starts, unless BKSI_ALLOW_INSECURE"
)
async def test_redis_beyond_this_machine_needs_a_password(url: str) -> None:
    with pytest.raises(UnsafeRedis, match="needs no password"):
        await require_safe_redis(Settings(redis_url=url))


async def test_insecure_start_can_be_allowed() -> None:
    await require_safe_redis(Settings(redis_url="redis://redis.invalid:6379/0", allow_insecure=True))


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("redis://127.0.0.1/0", True),
        ("redis://:x@localhost:1/0", True),
        ("rediss://[::1]:6379", True),
        ("postgresql://u@/db?host=/run/postgresql", True),
        ("postgresql://u:p@10.0.0.1/db", False),
        ("redis://127.0.0.1.example.com/0", False),
        ("amqp://guest:guest@rabbit//", False),
    ],
)
def test_local_is_what_only_this_machine_reaches(url: str, local: bool) -> None:
    assert is_local(url) is local


def test_shown_url_names_the_server_and_no_secret() -> None:
    assert without_secrets("redis://user:pw@[::1]:6379/0?password=pw") == "redis://[::1]:6379/0"
    assert without_secrets("postgresql://user:pw@db/name?password=pw") == "postgresql://db/name"
