"""The reader's HTTP application."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

import orjson
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from api_shim.http.answers import refusal, succeeded
from api_shim.http.bare_app import bare_app
from api_shim.http.body import read_body
from api_shim.http.exchange import HOSTS_WITHOUT_INSTANCE, LISTINGS, esb_paths, exchange_of
from api_shim.http.metrics import Metrics
from api_shim.http.paging import Cursors
from api_shim.identity.doorkeeper import Doorkeeper
from contract.codes import Code, Refused
from contract.settings import Settings
from reader.asked import one_instance, one_module, page, selection
from reader.state import ReaderState, database_away, state_of
from reader.v1 import router as v1
from worker.postgres.cmdb_pulls import ages
from worker.postgres.engine import Engine, create_engine, driver_connection
from worker.postgres.errors import DatabaseError
from worker.postgres.fitness import require_suitable
from worker.postgres.instance_reads import (
    Filter,
    count_instances,
    hosts_without_instance,
    list_instances,
    list_processes,
)


def create_app(settings: Settings, dsn: str) -> FastAPI:
    """The ASGI application, which opens its connections when they are first used.

    Args:
        settings: of this process.
        dsn: of a database, or a replica of it, that this process may read.

    Raises:
        TomlFileInvalid: the file of applications cannot be used.
        ValueError: a trusted proxy is no address or network.
    """
    doorkeeper = Doorkeeper.of(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        engine = _engine(settings, dsn, settings.database_connections)
        app.state.bksi = ReaderState(settings, engine, doorkeeper, Metrics(), Cursors(settings))
        yield
        await engine.dispose()

    app = bare_app("Service instances, to be read", lifespan)
    for route in (list_service_instance, list_service_instance_detail, list_process_instance):
        name = route.__name__
        for number, path in enumerate((LISTINGS[name], *esb_paths(name))):
            app.add_api_route(path, route, methods=["POST"], operation_id=f"{name}_{number}", tags=["compat"])
    app.add_api_route(HOSTS_WITHOUT_INSTANCE, with_no_service_instance, methods=["POST"], tags=["compat"])
    app.include_router(v1)
    app.add_api_route("/healthz", healthz, include_in_schema=False)
    app.add_api_route("/readyz", readyz, include_in_schema=False)
    app.add_api_route("/metrics", metrics, include_in_schema=False)
    app.add_exception_handler(DatabaseError, database_away)
    return app


async def require_suitable_database(settings: Settings, dsn: str) -> None:
    """What a worker asks of its database: sessions are ours alone, and the schema is this version's.

    Raises:
        DatabaseUnsuitable: it is not so; the text says what to do.
        DatabaseError: the database does not answer.
    """
    engine, spare = _engine(settings, dsn, 1), _engine(settings, dsn, 1)
    try:
        await require_suitable(engine, spare)
    finally:
        await spare.dispose()
        await engine.dispose()


def _engine(settings: Settings, dsn: str, connections: int) -> Engine:
    return create_engine(
        dsn,
        connections=connections,
        pool_timeout_s=5.0,
        statement_timeout_ms=settings.read_timeout_ms,
        application_name="bksi read",
        read_only=True,
    )


async def list_service_instance(request: Request) -> Response:
    """CMDB's ``list_service_instance``: instances of a business without their processes, ids ascending."""
    return await _listing(request, "head", needs_limit=False, order="id")


async def list_service_instance_detail(request: Request) -> Response:
    """CMDB's ``list_service_instance_detail``: the same with their processes, the newest first."""
    return await _listing(request, "detail", needs_limit=True, order="-id")


async def list_process_instance(request: Request) -> Response:
    """CMDB's ``list_process_instance``: the processes of one service instance."""
    wanted = await _wanted(request, one_instance)
    found = await list_processes(state_of(request).engine, wanted)
    data = [] if found is None else orjson.Fragment(found)
    return succeeded(exchange_of(request), {"data": data})


async def with_no_service_instance(request: Request) -> Response:
    """What CMDB's own pages ask: the hosts of a module that have no service instance there."""
    wanted = await _wanted(request, one_module)
    found = await hosts_without_instance(state_of(request).engine, wanted)
    return succeeded(exchange_of(request), {"data": {"bk_host_ids": found}})


async def _wanted(request: Request, read: Callable[[Mapping[str, Any], tuple[str, ...]], Filter]) -> Filter:
    """What `read` finds asked for in the body, of a caller who may."""
    state = state_of(request)
    _, body = await read_body(request, type_may_be_missing=True)
    identity = state.admit(request, body)
    wanted = read(body, state.accounts(identity))
    identity.require_business(wanted.bk_biz_id or 0)
    return wanted


async def _listing(request: Request, shape: str, *, needs_limit: bool, order: str) -> Response:
    state = state_of(request)
    _, body = await read_body(request, type_may_be_missing=True)
    identity = state.admit(request, body)
    wanted, shown = selection(body, state.accounts(identity)), page(body, needs_limit=needs_limit, order=order)
    identity.require_business(wanted.bk_biz_id or 0)
    rows = await list_instances(
        state.engine, wanted, shape=shape, order=shown.order, start=shown.start, limit=shown.limit
    )
    count = shown.start + len(rows)
    is_last = len(rows) < shown.limit and (rows or not shown.start)
    if not is_last:
        count = await count_instances(state.engine, wanted)
    data = {"count": count, "info": [orjson.Fragment(row) for row in rows]}
    return succeeded(exchange_of(request), {"data": data})


async def healthz() -> Response:
    """The process runs."""
    return PlainTextResponse("ok\n")


async def readyz(request: Request) -> Response:
    """The database answers."""
    try:
        await list_instances(state_of(request).engine, state_of(request).nothing, shape="head", limit=1)
    except DatabaseError:
        return refusal(exchange_of(request), [Refused(Code.INTERNAL)], status=503)
    return PlainTextResponse("ok\n")


async def metrics(request: Request) -> Response:
    """For Prometheus. How old the catalogue is stands there while the database answers."""
    state = state_of(request)
    state.ages.clear()
    with suppress(DatabaseError):
        async with driver_connection(state.engine) as driver:
            for (bk_biz_id, what), age in (await ages(driver)).items():
                state.ages.labels(str(bk_biz_id), what).set(age)
    return PlainTextResponse(state.metrics.text())
