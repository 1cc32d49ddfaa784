"""From a request to an accepted batch: the same steps on every path."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal

from starlette.requests import Request

from api_shim.http.body import read_body
from api_shim.http.exchange import exchange_of
from api_shim.http.state import state_of, trace_headers
from api_shim.identity.doorkeeper import Identity, without_credentials
from contract.answer.items import Warning_
from contract.answer.report import Report
from contract.codes import Code, Reason, Refused, Why
from contract.known import with_defaults
from contract.request.idempotency import key_of_body, key_of_dry_run, parse_idempotency_key
from contract.request.parse import BatchRefused, ParsedBatch, parse
from plumbing import traces


@dataclass(frozen=True, slots=True)
class Accepted:
    """A batch whose entry is pending now, or was before under the same idempotency key (`replayed`)."""

    request_id: str
    replayed: bool
    identity: Identity
    parsed: ParsedBatch

    def report(self) -> Report:
        """The report of a request that nobody has started yet, made without asking Redis again."""
        return Report.pending(
            len(self.parsed.batch.instances),
            request_id=self.request_id,
            bk_app_code=self.identity.caller.bk_app_code,
            bk_biz_id=self.parsed.batch.bk_biz_id,
            bk_module_id=self.parsed.batch.bk_module_id,
            warnings=self.parsed.warnings,
            created_at=datetime.now(tz=UTC),
        )


async def submit(request: Request, *, kind: Literal["create", "validate"] = "create") -> Accepted:
    """Read, authenticate, parse, authorise and enqueue.

    The credentials are dropped before the batch is parsed; nothing after that has ever seen them. On compat paths the
    same body again attaches to the unfinished request, because those callers know no keys and repeat blindly.

    Raises:
        Refused, BatchRefused: with the code that the answer carries.
    """
    metrics = state_of(request).metrics
    try:
        accepted = await _submit(request, kind)
    except (Refused, BatchRefused) as refused:
        metrics.refused(exchange_of(request).bk_app_code, refused)
        raise
    metrics.submitted(accepted.identity.caller.bk_app_code, kind, replayed=accepted.replayed)
    return accepted


async def _submit(request: Request, kind: Literal["create", "validate"]) -> Accepted:
    state, exchange = state_of(request), exchange_of(request)
    state.greet(request, "submit")
    body = await read_body(request, type_may_be_missing=exchange.style.is_compat)
    identity = await state.admit(request, "submit", body)
    parsed = parse(understood(request, body.content, identity), strict=is_strict(request))
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
    return Accepted(submitted.request_id, submitted.replayed, identity, parsed)


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
