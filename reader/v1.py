"""``/v1/service-instances`` and ``/v1/hosts-without-instance``: our own listings, paged by cursor."""

from collections.abc import Collection
from dataclasses import replace
from typing import Final

import orjson
from fastapi import APIRouter
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response

from api_shim.http.answers import listed, succeeded, with_etag
from api_shim.http.exchange import all_of, exchange_of
from api_shim.http.paging import require_known
from contract.codes import Code, Refused
from contract.request.batch import MAX_INT64
from reader.asked import MAX_HOSTS, MAX_LIMIT
from reader.state import state_of
from worker.postgres.instance_reads import Filter, hosts_without_instance, list_instances

router: Final = APIRouter(prefix="/v1", tags=["service instances"])
_DEFAULT_LIMIT: Final = 100
_KNOWN_OF_HOSTS: Final = frozenset({"bk_biz_id", "bk_module_id", "bk_host_id", "cursor", "limit"})
_KNOWN: Final = _KNOWN_OF_HOSTS | {"id", "name"}


@router.get("/service-instances")
async def list_service_instances(request: Request) -> Response:
    """Service instances of a business with their processes, ids ascending.

    ``bk_module_id``, ``bk_host_id``, ``id`` and ``name`` choose among them; hosts and ids may be lists: ``2,3``.
    ``limit`` (100, at most 1000) and ``cursor`` turn pages.
    """
    state, query = state_of(request), request.query_params
    wanted, limit = _asked(request, _KNOWN)
    wanted = replace(wanted, ids=_ids(query, "id"), names=[query["name"]] if "name" in query else None)
    rows = await list_instances(state.engine, wanted, shape="v1", limit=limit + 1)
    shown = rows[:limit]
    last = orjson.loads(shown[-1])["id"] if len(rows) > limit else None
    cursor = None if last is None else _cursor(request, wanted, last)
    return listed(exchange_of(request), "service_instances", [orjson.Fragment(row) for row in shown], cursor)


@router.get("/hosts-without-instance")
async def list_hosts_without_instance(request: Request) -> Response:
    """The hosts of a module that have no service instance there, ids ascending: those to ask for.

    ``bk_host_id`` chooses among them and may be a list: ``2,3``. ``limit`` and ``cursor`` as of service instances.
    """
    wanted, limit = _asked(request, _KNOWN_OF_HOSTS)
    if wanted.bk_module_id is None:
        raise Refused.field(Code.PARAM_REQUIRED, "query.bk_module_id")
    found = await hosts_without_instance(state_of(request).engine, wanted, limit=limit + 1)
    cursor = _cursor(request, wanted, found[limit - 1]) if len(found) > limit else None
    return listed(exchange_of(request), "bk_host_ids", found[:limit], cursor)


@router.get("/service-instances/{service_instance_id}")
async def get_service_instance(request: Request, service_instance_id: int) -> Response:
    """One service instance with its processes; one of another business is as unknown as one that never was."""
    state = state_of(request)
    identity = state.admit(request)
    require_known(request.query_params, ())
    wanted = Filter(state.accounts(identity), ids=[service_instance_id] if 0 < service_instance_id <= MAX_INT64 else [])
    for row in await list_instances(state.engine, wanted, shape="v1"):
        application = identity.application
        if application is None or application.may_write(orjson.loads(row)["bk_biz_id"]):
            answer = succeeded(exchange_of(request), {"service_instance": orjson.Fragment(row)})
            return with_etag(answer, all_of(request.headers, "if-none-match"))
    raise Refused(Code.REQUEST_NOT_FOUND)


def _asked(request: Request, known: Collection[str]) -> tuple[Filter, int]:
    """What every listing asks for, of a caller who may: the filter, and how many."""
    state, query = state_of(request), request.query_params
    identity = state.admit(request)
    require_known(query, known)
    bk_biz_id = _id(query, "bk_biz_id")
    if bk_biz_id is None:
        raise Refused.field(Code.PARAM_REQUIRED, "query.bk_biz_id")
    identity.require_business(bk_biz_id)
    limit = _id(query, "limit") or _DEFAULT_LIMIT
    if limit > MAX_LIMIT:
        raise Refused(Code.PAGE_LIMIT_INVALID, path="query.limit")
    after = state.cursors.read(_purpose(request, bk_biz_id), query.get("cursor"))
    wanted = Filter(
        accounts=state.accounts(identity),
        bk_biz_id=bk_biz_id,
        bk_module_id=_id(query, "bk_module_id"),
        bk_host_ids=_ids(query, "bk_host_id"),
        after_id=None if after is None else int(after),
    )
    return wanted, limit


def _cursor(request: Request, wanted: Filter, last: int) -> str:
    return state_of(request).cursors.make(_purpose(request, wanted.bk_biz_id), str(last))


def _purpose(request: Request, bk_biz_id: int | None) -> str:
    """What a cursor is good for."""
    return f"{request.url.path.rpartition('/')[2]} {bk_biz_id}"


def _id(query: QueryParams, name: str) -> int | None:
    return next(iter(_ids(query, name) or ()), None)


def _ids(query: QueryParams, name: str) -> list[int] | None:
    if name not in query:
        return None
    texts = query[name].split(",")
    if len(texts) > MAX_HOSTS:
        raise Refused(Code.TOO_MANY, f"query.{name}", MAX_HOSTS, path=f"query.{name}")
    if not all(text.isascii() and text.isdecimal() and 0 < int(text[:20]) <= MAX_INT64 for text in texts):
        raise Refused.field(Code.PARAM_NOT_INT, f"query.{name}")
    return [int(text) for text in texts]
