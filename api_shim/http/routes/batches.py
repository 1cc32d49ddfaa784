"""A batch on its way in: created as BlueKing's callers do and under ``/v1``, validated, polled.

ESB's paths and CMDB's own wait for the rows, and answer HTTP 200. From a request to an accepted batch the steps are the
same on every path: `submit`.
"""

from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from api_shim.http import openapi, openapi_answers
from api_shim.http.answers import finished, still_running, whole_seconds, with_etag
from api_shim.http.body import read_body
from api_shim.http.exchange import ESB_PATHS, NATIVE_PATH, Exchange, Style, all_of, exchange_of, preferred_wait
from api_shim.http.openapi_body import COMPAT_BODY
from api_shim.http.pages.request import request_page
from api_shim.http.state import located, state_of, trace_headers
from api_shim.identity.credentials import without_credentials
from api_shim.identity.doorkeeper import Identity
from api_shim.refusals import NotFound
from contract.answer.report import Report
from contract.answer.status import Warning_
from contract.codes import Code, Reason, Refused, Why
from contract.message import Kind
from contract.redis.requests import Submitted
from contract.request.idempotency import key_of_body, key_of_dry_run, parse_idempotency_key
from contract.request.parse import BatchRefused, ParsedBatch, parse, with_defaults
from plumbing import traces

compat: Final = APIRouter(tags=["compat"])
router: Final = APIRouter(prefix="/v1", tags=["batches"])


async def create_service_instance(request: Request) -> Response:
    """Create service instances and wait for them, as CMDB does.

    Answers 200 with the six keys. While the worker is still busy after ``COMPAT_WAIT_S`` the code is 1190001 and the
    request goes on; the same body again attaches to it.
    """
    state, exchange = state_of(request), exchange_of(request)
    submitted, _ = await submit(request)
    report = await state.waits.after_submit(
        submitted.request_id, exchange.bk_app_code, state.settings.compat_wait_s, request.receive
    )
    if report is None or not report.status.is_final:
        return still_running(exchange)
    return finished(exchange, report)


for _path in (*ESB_PATHS, NATIVE_PATH):
    compat.add_api_route(
        _path,
        create_service_instance,
        methods=["POST"],
        operation_id=f"create_service_instance_{len(compat.routes)}",
        responses=openapi.COMPAT_RESPONSES,
        openapi_extra={"requestBody": COMPAT_BODY, "parameters": openapi.KEY},
    )


@router.post("/batches", responses=openapi_answers.SUBMITTED, openapi_extra=openapi.SUBMIT)
async def submit_batch(request: Request) -> Response:
    """Accept a batch: 202 with its ``Location``, or 200 when it ended within ``Prefer: wait=N``."""
    return await _accept(request, "create", preferred_wait(all_of(request.headers, "prefer"), _maximum(request)))


@router.post("/batches:validate", responses=openapi_answers.SUBMITTED, openapi_extra=openapi.SUBMIT)
async def validate_batch(request: Request) -> Response:
    """What a worker would create, find or refuse; nothing is written. Waits for the outcome unless told otherwise."""
    wait = preferred_wait(all_of(request.headers, "prefer"), _maximum(request))
    return await _accept(request, "validate", int(_maximum(request)) if wait is None else wait)


@router.get("/batches/{request_id}", responses=openapi_answers.FOUND, openapi_extra=openapi.POLL)
async def poll_batch(request: Request, request_id: str) -> Response:
    """How a request stands. ``Prefer: wait=N`` answers as soon as it ends, or after N seconds."""
    state, exchange = state_of(request), exchange_of(request)
    identity = await state.admit(request, "poll")
    wait = preferred_wait(all_of(request.headers, "prefer"), state.settings.max_wait_s)
    report = await state.waits.until_final(request_id, identity.caller.bk_app_code, wait or 0, request.receive)
    exchange.request_id = request_id
    headers = {} if wait is None else {"Preference-Applied": f"wait={wait}"}
    if not report.status.is_final:
        headers["Retry-After"] = whole_seconds(await state.submitter.backlog.retry_after())
    if exchange.style is Style.PAGE:
        answer = await request_page(request, report, headers)
    else:
        answer = finished(exchange, report, headers=headers)
    return with_etag(answer, all_of(request.headers, "if-none-match"))


async def _accept(request: Request, kind: Kind, wait: int | None) -> Response:
    state, exchange = state_of(request), exchange_of(request)
    submitted, parsed = await submit(request, kind)
    request_id, app = submitted.request_id, exchange.bk_app_code
    path = f"/v1/batches/{request_id}"
    report = await state.waits.after_submit(request_id, app, wait or 0, request.receive)
    if report is None and submitted.created_at is None:
        with suppress(NotFound):
            report = await state.submitter.poll(request_id, app)
    if report is None or not (report.status.is_final or submitted.replayed):
        report = _unstarted(exchange, parsed, submitted.created_at or await state.submitter.now())
    if not report.status.is_final:
        return finished(exchange, report, 202, await state.accepted(path, replayed=submitted.replayed))
    headers = located(path, replayed=submitted.replayed)
    if wait is not None and "prefer" in request.headers:
        headers["Preference-Applied"] = f"wait={wait}"
    return finished(exchange, report, 200, headers)


def _unstarted(exchange: Exchange, parsed: ParsedBatch, created_at: datetime) -> Report:
    """The report of a request that nobody has started yet, made without asking Redis again."""
    return Report.pending(
        len(parsed.batch.instances),
        request_id=exchange.request_id,
        bk_app_code=exchange.bk_app_code,
        bk_biz_id=parsed.batch.bk_biz_id,
        bk_module_id=parsed.batch.bk_module_id,
        warnings=parsed.warnings,
        created_at=created_at,
    )


def _maximum(request: Request) -> float:
    return state_of(request).settings.max_wait_s


async def submit(request: Request, kind: Kind = "create") -> tuple[Submitted, ParsedBatch]:
    """Read, authenticate, parse, authorise and enqueue.

    The credentials are dropped before the batch is parsed; nothing after that has ever seen them. On compat paths the
    same body again attaches to the unfinished request, because those callers know no keys and repeat blindly.

    Raises:
        Refused, BatchRefused: with the code that the answer carries.
    """
    metrics, exchange = state_of(request).metrics, exchange_of(request)
    try:
        submitted, parsed = await _submit(request, kind)
    except (Refused, BatchRefused) as refused:
        metrics.refused(exchange.bk_app_code, refused)
        raise
    metrics.submitted(exchange.bk_app_code, kind, replayed=submitted.replayed)
    return submitted, parsed


async def _submit(request: Request, kind: Kind) -> tuple[Submitted, ParsedBatch]:
    state, exchange = state_of(request), exchange_of(request)
    state.greet(request, "submit")
    raw, content = await read_body(request, type_may_be_missing=exchange.style.is_compat)
    identity = await state.admit(request, "submit", (raw, content))
    parsed = parse(understood(request, content, identity), strict=is_strict(request))
    if exchange.style.is_compat:
        parsed = _all_or_nothing(parsed)
    identity.require_business(parsed.batch.bk_biz_id)
    key = idempotency_key(request, parsed.client_request_id)
    attach = key is None and exchange.style.is_compat
    if attach:
        key = key_of_body(parsed.batch.digest())
    elif key is not None and kind == "validate":
        key = key_of_dry_run(key)
    with traces.span("submit", kind="producer"):
        submitted = await state.submitter.submit(
            parsed.batch,
            identity.caller,
            warnings=parsed.warnings,
            idempotency_key=key,
            while_unfinished=attach,
            kind=kind,
            headers=trace_headers(exchange),
        )
    exchange.request_id = submitted.request_id
    return submitted, parsed


def understood(request: Request, body: dict[str, Any], identity: Identity) -> dict[str, Any]:
    """`body` without credentials, and with what the application or else the deployment means by leaving it out."""
    names = ("on_existing",) if exchange_of(request).style.is_compat else ("on_existing", "mode")
    return with_defaults(without_credentials(body), identity.application, state_of(request).settings, names)


def idempotency_key(request: Request, client_request_id: str | None) -> str | None:
    """The ``Idempotency-Key`` header, else the body's ``client_request_id`` (already checked); None without either."""
    key = request.headers.get("idempotency-key")
    if key is None:
        return client_request_id
    return parse_idempotency_key(key, "Idempotency-Key")


def _all_or_nothing(parsed: ParsedBatch) -> ParsedBatch:
    """A compat answer has no way to say which instances failed, so ``mode`` is no field of those paths."""
    if parsed.batch.mode == "atomic":
        return parsed
    if parsed.batch.strict:
        raise Refused.field(Code.PARAM_INVALID, "mode", Why.PARTIAL_ON_V1)
    batch = replace(parsed.batch, mode="atomic")
    return replace(parsed, batch=batch, warnings=(*parsed.warnings, Warning_(path="mode", reason=Reason.V1_ONLY)))


def is_strict(request: Request) -> bool:
    """``?strict=1``: refuse what would only be ignored with a warning."""
    match request.query_params.get("strict", "0"):
        case "1" | "true":
            return True
        case "0" | "false" | "":
            return False
        case _:
            raise Refused.field(Code.PARAM_INVALID, "query.strict", Why.ZERO_OR_ONE)
