"""What every route needs: the submitter, who may call, how often, and how long callers may be kept waiting."""

from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from typing import Literal

from starlette.requests import Request

from api_shim.http.answers import whole_seconds
from api_shim.http.body import Body, read_optional_body
from api_shim.http.exchange import Exchange, Style, exchange_of
from api_shim.http.limits import OpenUploads, OpenWaits, Rates
from api_shim.http.metrics import Metrics
from api_shim.http.paging import Cursors, require_known
from api_shim.identity.credentials import Unauthenticated, check_query
from api_shim.identity.doorkeeper import Doorkeeper, Identity
from api_shim.identity.signature import VALID_S, SignedCall, signed_call
from api_shim.jobs import Jobs
from api_shim.refusals import BrokerUnavailable, reaching_redis
from api_shim.submitter import Submitter
from contract.credentials import SIGNATURE
from contract.settings import Settings
from plumbing import traces


@dataclass(slots=True)
class AppState:
    """The parts of one running application."""

    settings: Settings
    submitter: Submitter
    doorkeeper: Doorkeeper
    waits: OpenWaits
    metrics: Metrics
    cursors: Cursors
    jobs: Jobs
    uploads: OpenUploads
    rates: Rates = field(default_factory=Rates)

    def greet(self, request: Request, purpose: Literal["submit", "poll"]) -> None:
        """Look at all that the head says of the caller, before a byte of the body is read.

        Raises:
            Refused: as `admit`. Who is not known costs this and no more.
        """
        exchange, peer = exchange_of(request), _peer(request)
        check_query(request.query_params.multi_items())
        with self._counting_failures(request):
            exchange.identity = self.doorkeeper.greet(request.headers, peer, _signer(request))
        if exchange.identity is not None:
            self._let_in(request, exchange.identity, purpose)
        elif not self.doorkeeper.is_open:
            self.rates.require_hope(self.doorkeeper.address(request.headers, peer))
            return
        _require_known_parameters(request)

    async def admit(self, request: Request, purpose: Literal["submit", "poll"], body: Body | None = None) -> Identity:
        """Authenticate the caller of `request` and count the call against its rate.

        Args:
            request: one that was greeted, if it has a body.
            purpose: which rate.
            body: None when there is none.

        Raises:
            Refused: the caller is not known, or contradicts itself, or calls too often.
        """
        exchange = exchange_of(request)
        if body is None:
            self.greet(request, purpose)
        raw, content = body or (b"", {})
        greeted = exchange.identity
        query = request.query_params
        signed = signed_call(exchange.method, request.scope["path"], query, raw) if query else None
        with self._counting_failures(request):
            identity = self.doorkeeper.identify(request.headers, content, _peer(request), signed, greeted)
            if signed is not None and greeted is None and identity.application is not None:
                await self._use_once(signed, identity.caller.bk_app_code)
        if greeted is None:
            self._let_in(request, identity, purpose)
            _require_known_parameters(request)
        return identity

    async def admit_act(self, request: Request) -> Identity:
        """The same for ``:cancel`` and ``:retry``, whose body is there for credentials alone."""
        self.greet(request, "submit")
        return await self.admit(request, "submit", await read_optional_body(request))

    def _let_in(self, request: Request, identity: Identity, purpose: Literal["submit", "poll"]) -> None:
        exchange_of(request).bk_app_code = identity.caller.bk_app_code
        self.rates.spend(identity, purpose)

    def _counting_failures(self, request: Request) -> AbstractContextManager[None]:
        return self.rates.counting_failures(lambda: self.doorkeeper.address(request.headers, _peer(request)))

    async def _use_once(self, signed: SignedCall, bk_app_code: str) -> None:
        requests = self.submitter.requests
        # Twice as long as it is valid: a clock may be ahead, or behind.
        first = requests.client.set(requests.keys.nonce(bk_app_code, signed.bk_nonce), "1", nx=True, ex=2 * VALID_S)
        if not await reaching_redis(first):
            raise Unauthenticated

    async def accepted(self, path: str, *, replayed: bool) -> dict[str, str]:
        """The headers of a 202: where it is polled, and when that is worth it."""
        with suppress(BrokerUnavailable):
            return located(path, replayed=replayed) | {
                "Retry-After": whole_seconds(await self.submitter.backlog.retry_after())
            }
        return located(path, replayed=replayed)


def located(path: str, *, replayed: bool) -> dict[str, str]:
    """The headers of whatever was accepted, now or before."""
    return {"Location": path, **({"Idempotent-Replayed": "true"} if replayed else {})}


def _require_known_parameters(request: Request) -> None:
    """Those that the description of a call has. A page takes any: chat programs hang theirs on shared links."""
    style = exchange_of(request).style
    if not request.query_params or style.is_compat or style is Style.PAGE:
        return
    described = (request.scope["route"].openapi_extra or {}).get("parameters", ())
    require_known(request.query_params, {parameter["name"] for parameter in described if parameter["in"] == "query"})


def _peer(request: Request) -> str | None:
    return request.client.host if request.client else None


def _signer(request: Request) -> str | None:
    query = request.query_params
    return query.get("bk_app_code", "") if SIGNATURE in query else None


def state_of(request: Request) -> AppState:
    """The parts of the application that serves `request`."""
    state: AppState = request.app.state.bksi
    return state


def trace_headers(exchange: Exchange) -> dict[str, str] | None:
    """The Celery headers that carry the trace on: from our span, or from the caller's where we make none."""
    return traces.headers(traces.current().traceparent or exchange.traceparent)
