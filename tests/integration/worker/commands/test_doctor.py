"""`bksi doctor` and the starts it guards, over real servers: some as they should be, one with everything wrong."""

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis as redis_client

from contract.redis.replay import DEFAULT_USER
from contract.settings import Settings
from devstack.ports import free_port
from devstack.process import Guard
from devstack.servers import Valkey
from tests.compose_redis import ComposeRedis
from tests.conftest import RunBksi, execute
from worker.commands.doctor.examine import examine
from worker.commands.doctor.finding import Finding, Level

pytestmark = pytest.mark.anyio
ONE_SENDER = f'[senders.app]\nkeys = ["{"k" * 43}"]\nbk_biz_ids = [2]'
WRONG = {"requirepass": '""', "appendonly": "no", "maxmemory-policy": "allkeys-lru"}


@pytest.fixture(scope="module")
def wrong_redis(guard: Guard, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Redis that lets anybody in, keeps nothing and evicts."""
    with Valkey(tmp_path_factory.mktemp("wrong"), guard, settings=WRONG) as server:
        yield f"redis://127.0.0.1:{server.port}/0"


async def look(**settings: Any) -> dict[str, Finding]:
    findings = await examine(Settings(**settings), settings.pop("flower", None))
    assert all(finding.mend for finding in findings if finding.level is not Level.OK)
    return {finding.check: finding for finding in findings}


async def test_well_kept_redis_and_catalogue_have_no_findings(
    redis_url: str, redis: "redis_client.Redis", catalogue_database: str
) -> None:
    redis.zadd("bksi:workers", {"host:1:abc": int(time.time() * 1000)})

    found = await look(redis_url=redis_url, postgres_dsn=catalogue_database)

    for check in ("redis", "redis persistence", "redis eviction", "redis password", "redis clock", "postgres clock"):
        assert found[check].level is Level.OK, found[check]
    for check in (
        "workers",
        "postgres sessions and rights",
        "queue",
        "dead letters",
        "parked messages",
        "migrations",
        "catalogue",
        "time limits",
        "visibility",
    ):
        assert found[check].level is Level.OK, found[check]
    # The tests' PostgreSQL is fast and forgets in a power loss, its user may do anything, and so may Redis'.
    assert found["postgres durability"].level is Level.ERROR
    assert "fsync = off" in found["postgres durability"].found
    assert found["postgres user"].level is found["redis user"].level is Level.WARNING


async def test_workers_that_take_nothing_are_named_with_the_reason(
    redis_url: str, redis: "redis_client.Redis", postgres_dsn: str
) -> None:
    redis.zadd("bksi:workers", {"one": int(time.time() * 1000), "two": int(time.time() * 1000)})
    redis.hset("bksi:paused", mapping={"two": "SQLSTATE 42501", "gone": "canary"})

    found = (await look(redis_url=redis_url, postgres_dsn=postgres_dsn))["workers"]

    assert (found.level, found.found) == (Level.ERROR, "1 of 2 take no requests: SQLSTATE 42501")


async def test_parked_messages_are_counted(redis_url: str, redis: "redis_client.Redis", postgres_dsn: str) -> None:
    redis.lpush("bksi:parked", b"x", b"y")

    found = (await look(redis_url=redis_url, postgres_dsn=postgres_dsn))["parked messages"]

    assert (found.level, found.found) == (Level.WARNING, "2 are for a newer version of a task")


@pytest.mark.parametrize(
    ("status_and_age", "level", "said"),
    [
        ("'PENDING', '1 minute'", Level.OK, "1 requests wait for CMDB, the oldest for 1 minutes; it refused 0"),
        ("'PENDING', '1 hour'", Level.WARNING, "1 requests wait for CMDB, the oldest for 60 minutes; it refused 0"),
        ("'FAILED', '1 minute'", Level.WARNING, "0 requests wait for CMDB; it refused 1"),
    ],
)
def test_what_cmdb_is_still_to_have_is_told(
    redis_url: str, database: str, status_and_age: str, level: Level, said: str
) -> None:
    assert "deliveries" not in asyncio.run(look(redis_url=redis_url, postgres_dsn=database)), "there is no CMDB"
    execute(
        database,
        "INSERT INTO delivery (request_id, bk_biz_id, bk_module_id, instance_ids, status, created_at)"
        f" SELECT '{'a' * 32}', 1, 60, '{{1}}', status, now() - age::interval"
        f" FROM (VALUES ({status_and_age})) AS one (status, age)",
    )

    found = asyncio.run(look(redis_url=redis_url, postgres_dsn=database))["deliveries"]

    assert (found.level, found.found) == (level, said)


async def test_redis_with_everything_wrong_is_told_so(wrong_redis: str, postgres_dsn: str) -> None:
    found = await look(redis_url=wrong_redis, postgres_dsn=postgres_dsn)

    assert found["redis persistence"].level is found["redis eviction"].level is Level.ERROR
    assert "allkeys-lru" in found["redis eviction"].found
    assert found["redis password"].level is Level.WARNING  # an error were it reached from elsewhere
    assert found["workers"].level is Level.ERROR
    # An empty database: neither migrated nor filled.
    assert found["migrations"].level is found["catalogue"].level is Level.ERROR
    assert "none" in found["migrations"].found


async def test_how_often_redis_syncs_decides(redis_url: str, redis: "redis_client.Redis", postgres_dsn: str) -> None:
    async def level(appendfsync: str) -> Level:
        redis.config_set("appendfsync", appendfsync)
        return (await look(redis_url=redis_url, postgres_dsn=postgres_dsn))["redis persistence"].level

    try:
        assert [await level(how) for how in ("everysec", "no")] == [Level.WARNING, Level.ERROR]
    finally:
        redis.config_set("appendfsync", "always")


def test_database_that_takes_no_writes_is_an_error(redis_url: str, database: str) -> None:
    name = database.rpartition("/")[2]
    execute(database, f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')

    found = asyncio.run(look(redis_url=redis_url, postgres_dsn=database))["postgres"]

    assert (found.level, "default_transaction_read_only is on" in found.found) == (Level.ERROR, True)


async def test_user_that_may_not_ask_is_no_error(
    redis_url: str, redis: "redis_client.Redis", postgres_dsn: str
) -> None:
    redis.acl_setuser(
        "narrow", enabled=True, passwords=["+pw"], keys=["*"], commands=["+@all", "-config", "-acl|whoami"]
    )
    try:
        url = redis_url.replace(f"//:{urlsplit(redis_url).password}", "//narrow:pw")
        found = await look(redis_url=url, postgres_dsn=postgres_dsn)
    finally:
        redis.acl_deluser("narrow")
    assert found["redis persistence"].level is found["redis user"].level is Level.SKIPPED


async def test_default_user_without_rights_is_an_error(
    monkeypatch: pytest.MonkeyPatch, guard: Guard, tmp_path: Path, postgres_dsn: str
) -> None:
    """On a server that loses what it wrote then; which do, is tried in `redis/test_restart.py`."""
    monkeypatch.setattr("contract.redis.replay._MENDED", (99,))
    rights = f"--{DEFAULT_USER}"
    found = []
    for name, change in (
        ("as-it-is", str),
        ("off-alone", lambda command: command.replace(rights, "--user default off")),
        ("half-of-them", lambda command: command.replace(rights, '--user default off "~bksi:*" +@all')),
        ("not-told", lambda command: command.replace('"+acl|dryrun"', "")),
    ):
        with ComposeRedis(tmp_path / name, guard, change) as server:
            found.append((await look(redis_url=server.url, postgres_dsn=postgres_dsn))["redis restart"])

    assert [finding.level for finding in found] == [Level.OK, Level.ERROR, Level.ERROR, Level.WARNING]
    assert all(DEFAULT_USER in finding.mend for finding in found[1:])
    assert "+acl|dryrun" in found[3].mend


async def test_servers_that_are_away_or_refuse_are_named_without_their_passwords(redis_url: str) -> None:
    port = free_port()
    away = await look(
        redis_url=f"redis://:CANARY@127.0.0.1:{port}/0",
        broker_url=f"amqp://guest:CANARY@127.0.0.1:{port}//",
        postgres_dsn=f"postgresql://u:CANARY@127.0.0.1:{port}/db?password=CANARY",
    )
    unreadable = await look(
        redis_url=f"rediss://:CANARY@127.0.0.1:{port}/0?ssl_ca_certs=/missing.pem",
        postgres_dsn=f"postgresql://u:CANARY@127.0.0.1:{port}/db?sslmode=verify-full&sslrootcert=/missing.pem",
    )
    refusing = await look(
        redis_url=redis_url.replace("//:", "//:CANARY"), postgres_dsn=f"postgresql://u:CANARY@127.0.0.1:{port}/db"
    )

    assert away["redis"].level is away["broker"].level is away["postgres"].level is Level.ERROR
    assert f"connecting to 127.0.0.1:{port}" in away["redis"].found
    assert "ssl_ca_certs /missing.pem cannot be read" in unreadable["redis"].found
    assert "sslrootcert /missing.pem cannot be read" in unreadable["postgres sessions and rights"].found
    assert "password is wrong" in refusing["redis"].found
    assert "CANARY" not in repr([away, unreadable, refusing])


@pytest.mark.parametrize(
    ("settings", "check"),
    [
        ({"owner_ttl_ms": 3000}, "time limits"),
        ({"statement_timeout_ms": 200_000}, "time limits"),
        ({"attempt_timeout_s": 900}, "time limits"),
        ({"request_deadline_s": 86_400}, "time limits"),
        ({"transport": "stock", "attempt_timeout_s": 4_000, "request_deadline_s": 5_000}, "visibility"),
        ({"failpoints": "after_lease=kill"}, "failpoints"),
    ],
)
def test_settings_that_contradict_each_other_are_errors(settings: dict[str, Any], check: str) -> None:
    from worker.commands.doctor.settings import examine_settings

    levels = {finding.check: finding.level for finding in examine_settings(Settings(**settings))}
    assert levels[check] is Level.ERROR


@pytest.mark.parametrize(
    ("settings", "check"),
    [
        ({"allow_insecure": True}, "insecure start"),
        ({"remote_control": True}, "remote control"),
        ({"log_level": "debug"}, "log level"),
        ({"watchdog_s": 0}, "watchdog"),
        ({"cmdb_url": "http://cmdb.example", "cmdb_settle_s": 60}, "delivery"),
        ({"transport": "stock"}, "visibility"),
    ],
)
def test_settings_that_carry_a_risk_are_warnings(settings: dict[str, Any], check: str) -> None:
    from worker.commands.doctor.settings import examine_settings

    levels = {finding.check: finding.level for finding in examine_settings(Settings(**settings))}
    assert levels[check] is Level.WARNING


@pytest.mark.parametrize(
    ("content", "mode", "level"),
    [
        ("senders = {}", 0o644, Level.OK),  # there is no key that somebody could read
        (ONE_SENDER, 0o600, Level.OK),
        (ONE_SENDER, 0o644, Level.WARNING),
        ("keys = 1", 0o600, Level.ERROR),
    ],
)
def test_file_of_senders_must_be_valid_and_private(content: str, mode: int, level: Level, tmp_path: Path) -> None:
    from worker.commands.doctor.settings import examine_settings

    path = tmp_path / "senders.toml"
    path.write_text(content)
    path.chmod(mode)
    levels = {finding.check: finding.level for finding in examine_settings(Settings(senders_file=path))}
    assert levels["direct messages"] is level


@contextmanager
def web_server(status: int) -> Iterator[str]:
    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(401 if self.headers.get("Authorization") is None and status == 401 else 200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://admin:CANARY@127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize(("status", "level"), [(200, Level.WARNING), (401, Level.OK)])
async def test_flower_is_asked_as_a_stranger_would(status: int, level: Level) -> None:
    from worker.commands.doctor.flower import examine_flower

    with web_server(status) as url:
        finding = await examine_flower(url)

    assert finding.level is level
    assert "CANARY" not in repr(finding)


def test_command_prints_a_table_and_says_it_by_its_exit_code(
    bksi: RunBksi, wrong_redis: str, postgres_dsn: str
) -> None:
    env = {"BKSI_REDIS_URL": wrong_redis, "BKSI_POSTGRES_DSN": postgres_dsn}
    printed = bksi("doctor", env=env)

    assert printed.returncode == 1
    assert "→ Set maxmemory-policy noeviction" in printed.stdout
    assert urlsplit(postgres_dsn).password not in printed.stdout


@pytest.mark.parametrize("command", ["serve", "worker"])
@pytest.mark.bad_input(104, "a maxmemory-policy that evicts", "neither server nor worker starts")
def test_nothing_starts_on_a_redis_that_evicts(bksi: RunBksi, command: str, wrong_redis: str) -> None:
    ended = bksi(command, env={"BKSI_REDIS_URL": wrong_redis, "BKSI_HTTP_PORT": str(free_port())})
    assert ended.returncode == 1
    assert "allkeys-lru" in ended.stderr
