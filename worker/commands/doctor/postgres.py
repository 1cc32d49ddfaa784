"""PostgreSQL: what it keeps, whether its schema is the newest, and whether there is a catalogue."""

from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Final

from contract.settings import Settings
from plumbing.urls import is_local, without_secrets
from worker.commands.doctor.clocks import examine_clock
from worker.commands.doctor.finding import Finding, error, ok, warning
from worker.postgres.engine import Engine, create_engine
from worker.postgres.errors import DatabaseError, DatabaseUnsuitable
from worker.postgres.fitness import rehearse, require_suitable_server
from worker.postgres.health import ServerHealth, read_clock, read_health

_TIMEOUT_S: Final = 5.0
_OLDEST: Final = 15
_OLD_S: Final = 3600.0
_LATE_S: Final = 900.0
"""As the alert BksiDeliveryLate has it."""
_MEND: Final = "Workers take no requests until it is mended."


async def examine_postgres(settings: Settings) -> AsyncIterator[Finding]:
    """Look at the database of `postgres_dsn`."""
    shown = without_secrets(settings.postgres_dsn)
    engine, spare = _engine(settings), _engine(settings)
    try:
        await require_suitable_server(engine, spare)
        health = await read_health(engine)
        for finding in _findings(health, settings.postgres_dsn):
            yield finding
        if settings.delivers or any(health.deliveries.values()):
            yield _deliveries(health.deliveries)
        if health.revision == health.newest_revision:
            yield await _rehearsal(spare)
        yield await examine_clock("postgres clock", lambda: read_clock(engine))
    except DatabaseUnsuitable as failure:
        yield error("postgres sessions and rights", f"{shown}: {failure}", _MEND)
    except DatabaseError as failure:
        yield error("postgres", f"{shown}: {failure}", "Start it, or correct BKSI_POSTGRES_DSN (user, password, host).")
    finally:
        await spare.dispose()
        await engine.dispose()


def _engine(settings: Settings) -> Engine:
    return create_engine(
        settings.postgres_dsn,
        connections=1,
        pool_timeout_s=_TIMEOUT_S,
        statement_timeout_ms=int(_TIMEOUT_S * 1000),
        application_name="bksi doctor",
    )


async def _rehearsal(engine: Engine) -> Finding:
    """Do as a worker does before it takes requests."""
    try:
        await rehearse(engine)
    except DatabaseError as failure:
        return error("postgres sessions and rights", str(failure), _MEND)
    return ok("postgres sessions and rights", "a request finds all that it needs")


def _findings(health: ServerHealth, dsn: str) -> Iterator[Finding]:
    shown = without_secrets(dsn)
    if health.is_standby:
        yield error("postgres", f"{shown} is a standby", "Point BKSI_POSTGRES_DSN at the primary.")
    elif health.is_read_only:
        mend = "ALTER ROLE or ALTER DATABASE … RESET default_transaction_read_only, or in the server's configuration."
        yield error("postgres", f"{shown} takes no writes: default_transaction_read_only is on", mend)
    elif health.version // 10_000 < _OLDEST:
        yield warning("postgres", f"{shown} is version {health.version // 10_000}", f"{_OLDEST} and newer are tested.")
    else:
        yield ok("postgres", f"{health.version // 10_000}.{health.version % 10_000} at {shown}")
    weak = {name: value for name, value in health.durability.items() if value == "off"}
    if weak:
        said = ", ".join(f"{name} = {value}" for name, value in weak.items())
        yield error(
            "postgres durability",
            f"{said}: requests that were answered as done can be gone after a crash",
            f"Turn {' and '.join(weak)} on.",
        )
    else:
        yield ok("postgres durability", "a commit is on disk before it is answered")
    if health.is_superuser:
        yield warning(
            "postgres user",
            "a superuser",
            "Connect as a role that owns the database and nothing else.",
        )
    else:
        yield ok("postgres user", "no superuser")
    if not (health.is_encrypted or is_local(dsn)):
        yield warning(
            "postgres TLS",
            f"{shown} is not encrypted",
            "Add sslmode=verify-full and sslrootcert beyond one trusted network.",
        )
    if health.revision == health.newest_revision:
        yield ok("migrations", f"at {health.revision}, the newest")
    else:
        yield error(
            "migrations",
            f"the database is at {health.revision or 'none'}, this version needs {health.newest_revision}",
            "Run `bksi migrate`; if the database is the newer one, update this machine.",
        )
    if health.modules:
        yield ok("catalogue", f"{health.modules} modules")
    else:
        yield error("catalogue", "empty: every request is answered 1101034", "Run `bksi catalogue import` or `pull`.")
    yield from _ages(health)
    if health.highest_cmdb_id:
        yield _ids(health.first_id, health.highest_cmdb_id)


def _ages(health: ServerHealth) -> Iterator[Finding]:
    """Only the oldest business is named: the others are younger."""
    for what in ("catalogue", "instances"):
        found = {bk_biz_id: age for (bk_biz_id, kind), age in health.ages.items() if kind == what}
        if not found:
            continue
        oldest = max(found, key=lambda bk_biz_id: found[bk_biz_id])
        said = f"{what} of {len(found)} businesses pulled, the oldest ({oldest}) {found[oldest] / 60:.0f} minutes ago"
        if found[oldest] > _OLD_S:
            yield warning(f"{what} age", said, "Keep `bksi catalogue watch` running, or pull again.")
        else:
            yield ok(f"{what} age", said)


def _deliveries(backlog: Mapping[str, float]) -> Finding:
    oldest = f", the oldest for {backlog['oldest_s'] / 60:.0f} minutes" if backlog["pending"] else ""
    found = f"{backlog['pending']} requests wait for CMDB{oldest}; it refused {backlog['failed']}"
    if backlog["failed"]:
        mend = "`bksi deliver ls --status FAILED` says why: mend it, then `bksi deliver retry` or `drop`."
        return warning("deliveries", found, mend)
    if backlog["oldest_s"] > _LATE_S:
        mend = 'The workers\' log says why ("not delivered"); only workers with BKSI_CMDB_URL hand anything on.'
        return warning("deliveries", found, mend)
    return ok("deliveries", found)


def _ids(first_id: int, highest_cmdb_id: int) -> Finding:
    found = f"CMDB has come to {highest_cmdb_id}, ours begin at {first_id}"
    if highest_cmdb_id > first_id // 2:
        return warning("ids", f"{found}: it may reach them", "Set BKSI_FIRST_ID of the workers far above.")
    return ok("ids", found)
