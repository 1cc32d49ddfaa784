import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from contract.settings import Settings
from tests.certificate import self_signed
from tests.integration.worker.postgres.plans import counts, fetch, outcomes, plan, request
from tests.integration.worker.postgres.proxy import Proxy, proxy_to
from worker.postgres import ledger
from worker.postgres.engine import create_engine, driver_connection, make_engine, transaction
from worker.postgres.errors import DatabaseError, DatabaseUnavailable, NoConnection, TransactionConflict
from worker.postgres.writer import Writer

pytestmark = pytest.mark.anyio


@pytest.fixture
async def proxy(anyio_backend: str, database: str) -> AsyncIterator[Proxy]:
    async with proxy_to(database) as proxy:
        yield proxy


@pytest.fixture
async def proxied(proxy: Proxy) -> AsyncIterator[AsyncEngine]:
    engine = create_engine(proxy.dsn, connections=1, statement_timeout_ms=300)
    yield engine
    await engine.dispose()


async def test_every_connection_has_the_workers_settings(database: str) -> None:
    engine = make_engine(Settings(postgres_dsn=database, statement_timeout_ms=12_345))

    names = ("enable_seqscan", "jit", "statement_timeout", "application_name", "idle_in_transaction_session_timeout")
    shown = [(await fetch(engine, f"SHOW {name}"))[0][0] for name in names]

    assert shown == ["off", "off", "12345ms", "bksi worker", "12345ms"]
    await engine.dispose()


async def test_no_more_connections_than_asked_for_and_a_bounded_wait(database: str) -> None:
    engine = create_engine(database, connections=1, pool_timeout_s=0.5)

    async with driver_connection(engine):
        with pytest.raises(DatabaseUnavailable):
            await ledger.load(engine, "a" * 32)

    assert await ledger.load(engine, "a" * 32) is None
    await engine.dispose()


async def test_server_that_is_not_there_is_told_at_once() -> None:
    engine = create_engine("postgresql://nobody@127.0.0.1:1/nothing")

    with pytest.raises(DatabaseUnavailable):
        await ledger.load(engine, "a" * 32)
    await engine.dispose()


async def test_server_that_hangs_up_on_whoever_connects_is_away() -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        engine = create_engine(f"postgresql://nobody@127.0.0.1:{port}/nothing?sslmode=disable")

        with pytest.raises(DatabaseUnavailable):
            await ledger.load(engine, "a" * 32)
        await engine.dispose()


async def test_certificate_that_is_not_accepted_is_told_and_waited_for(tmp_path: Path) -> None:
    """A server whose certificate has run out is given a new one; nothing is wrong with the DSN."""
    certificate, key = self_signed(tmp_path)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate, key)

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(8)
        writer.write(b"S")
        with contextlib.suppress(OSError):
            await writer.start_tls(tls)

    async with await asyncio.start_server(speak, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        said = await _refusal(f"postgresql://u@localhost:{port}/db?sslmode=verify-full&sslrootcert={certificate}")
        assert (type(said), "certificate" in str(said)) == (NoConnection, True), said


async def test_file_of_a_dsn_that_is_not_there_is_named(postgres_dsn: str) -> None:
    said = await _refusal(f"{postgres_dsn}?sslmode=verify-full&sslrootcert=/nowhere.pem")
    assert str(said) == "it cannot be used: sslrootcert /nowhere.pem cannot be read"


async def test_wrong_password_and_missing_database_are_called_so(postgres_dsn: str) -> None:
    server = postgres_dsn.rpartition("@")[2]
    assert str(await _refusal(f"postgresql://postgres:no@{server}")).endswith("the user or the password is wrong")
    assert str(await _refusal(f"{postgres_dsn.rpartition('/')[0]}/nothing")).endswith("there is no such database")


async def _refusal(dsn: str) -> DatabaseError:
    engine = create_engine(dsn, connections=1)
    try:
        with pytest.raises(DatabaseError) as refused:
            async with driver_connection(engine):
                pass
    finally:
        await engine.dispose()
    return refused.value


async def test_database_that_takes_nobody_in_is_away_whatever_its_sqlstate(database: str) -> None:
    nowhere = database.rpartition("/")[0] + "/nowhere"
    engine = create_engine(nowhere)

    with pytest.raises(DatabaseUnavailable) as caught:
        await ledger.load(engine, "a" * 32)

    assert caught.value.sqlstate == "3D000"
    assert caught.value.__context__ is None
    await engine.dispose()


async def test_connection_that_the_server_closed_is_replaced_unnoticed(database: str, engine: AsyncEngine) -> None:
    single, closed = create_engine(database, connections=1), asyncio.Event()
    async with driver_connection(single) as driver:
        pid = driver.get_server_pid()
        driver.add_termination_listener(lambda _driver: closed.set())

    await fetch(engine, "SELECT pg_terminate_backend($1)", pid)
    await closed.wait()
    ((other_pid,),) = await fetch(single, "SELECT pg_backend_pid()")

    assert other_pid != pid
    await single.dispose()


async def test_connection_on_which_the_server_took_leave_is_given_up(
    proxy: Proxy, proxied: AsyncEngine, engine: AsyncEngine
) -> None:
    """The server's last word has been read, the end of the socket has not: the connection still looks open."""
    ((pid,),) = await fetch(proxied, "SELECT pg_backend_pid()")

    proxy.say_shutdown()
    await fetch(engine, "SELECT 1")  # meanwhile the loop reads it
    with pytest.raises(DatabaseUnavailable):
        await fetch(proxied, "SELECT 1")
    ((other_pid,),) = await fetch(proxied, "SELECT pg_backend_pid()")

    assert other_pid != pid


async def test_statement_that_takes_too_long_is_ended(database: str) -> None:
    engine = create_engine(database, statement_timeout_ms=50)

    with pytest.raises(DatabaseUnavailable) as caught:
        await fetch(engine, "SELECT pg_sleep(30)")

    assert caught.value.sqlstate == "57014"
    await engine.dispose()


async def test_silent_server_is_given_up_and_used_again_when_it_is_back(proxy: Proxy, proxied: AsyncEngine) -> None:
    """The other end of the connection is gone without a word: only the client's clock can tell."""
    writer, asked = Writer(proxied), request(plan([2]))
    await writer.write(request(plan([1])))

    proxy.is_silent = True
    with pytest.raises(DatabaseUnavailable):
        await writer.write(asked)
    proxy.is_silent = False

    assert outcomes((await writer.write(asked)).report) == ["created"]


async def test_server_that_goes_silent_in_a_transaction_is_given_up_too(proxy: Proxy, proxied: AsyncEngine) -> None:
    async def work() -> None:
        async with driver_connection(proxied) as driver, transaction(driver):
            proxy.is_silent = True
            await driver.execute("SELECT 1")

    with pytest.raises(DatabaseUnavailable):
        await work()
    proxy.is_silent = False

    assert await fetch(proxied, "SELECT 1") == [(1,)]


async def test_commit_whose_answer_was_lost_is_looked_up_and_not_repeated(
    proxy: Proxy, proxied: AsyncEngine, engine: AsyncEngine
) -> None:
    writer, asked = Writer(proxied), request(plan([2, 3]))
    await writer.write(request(plan([1])))

    proxy.loses_answers = True
    with pytest.raises(DatabaseUnavailable):
        await writer.write(asked)
    proxy.loses_answers = False
    again = await writer.write(asked)

    assert not again.is_first
    assert outcomes(again.report) == ["created", "created"]
    assert (await counts(engine))["service_instance"] == 3


async def test_cancelled_write_leaves_a_usable_pool(writer: Writer, engine: AsyncEngine) -> None:
    asked = request(plan([2]))
    async with driver_connection(engine) as driver, transaction(driver):
        await driver.execute("LOCK TABLE service_instance")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await writer.write(asked)

    written = await asyncio.gather(*(writer.write(asked) for _ in range(12)))

    assert {tuple(outcomes(one.report)) for one in written} == {("created",)}
    assert (await counts(engine))["service_instance"] == 1


async def test_deadlock_is_worth_repeating(engine: AsyncEngine) -> None:
    await Writer(engine).write(request(plan([1, 2])))
    reached = asyncio.Barrier(2)

    async def lock(first: int, second: int) -> None:
        async with driver_connection(engine) as driver, transaction(driver):
            await driver.execute("SELECT FROM service_instance WHERE id = $1 FOR UPDATE", first)
            await reached.wait()
            await driver.execute("SELECT FROM service_instance WHERE id = $1 FOR UPDATE", second)

    results = await asyncio.gather(lock(1, 2), lock(2, 1), return_exceptions=True)

    (conflict,) = [result for result in results if result]
    assert isinstance(conflict, TransactionConflict)
    assert conflict.is_retryable
    assert conflict.sqlstate == "40P01"


async def test_parameters_stay_out_of_sqlalchemys_own_errors(engine: AsyncEngine) -> None:
    with pytest.raises(DBAPIError) as caught:
        async with engine.connect() as connection:
            await connection.execute(text("SELECT 1 / 0 + length(:secret)"), {"secret": "secret-canary"})

    assert "secret-canary" not in str(caught.value)
