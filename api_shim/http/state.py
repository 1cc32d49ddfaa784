"""What every route needs: the submitter, who may call, how often, and how long callers may be kept waiting."""

import time
from dataclasses import dataclass, field
from typing import Literal

from starlette.requests import Request

from api_shim.http.body import NO_BODY, Body
from api_shim.http.cursor import Cursors
from api_shim.http.exchange import Exchange, exchange_of
from api_shim.http.metrics import Metrics
from api_shim.http.open_waits import OpenWaits
from api_shim.http.rates import Rates
from api_shim.identity.doorkeeper import Doorkeeper, Identity, Unauthenticated, refuse_query_credentials
from api_shim.identity.signature import VALID_S, SignedCall, signed_call
from api_shim.refusals import reaching_redis
from api_shim.submitter import Backlog, Submitter
from contract.settings import Settings

_BACKLOG_FRESH_S = 0.5


@dataclass(slots=True)
class AppState:
    """The parts of one running application."""

    settings: Settings
    submitter: Submitter
    doorkeeper: Doorkeeper
    waits: OpenWaits
    metrics: Metrics
    cursors: Cursors
    rates: Rates = field(default_factory=Rates)
    _backlog: tuple[float, Backlog] = (0.0, Backlog(0, 1.0))

    async def admit(self, request: Request, purpose: Literal["submit", "poll"], body: Body = NO_BODY) -> Identity:
        """Authenticate the caller of `request` and count the call against its rate."""
        query = request.query_params
        refuse_query_credentials(query)
        signed = signed_call(request.method, request.scope["path"], query, body.raw) if query else None
        identity = self.doorkeeper.identify(
            request.headers, body.content, request.client.host if request.client else None, signed
        )
        app_code = identity.caller.bk_app_code
        if signed is not None and identity.application is not None:
            await self._use_once(signed, app_code)
        exchange_of(request).bk_app_code = app_code
        self.rates.spend(identity, purpose)
        return identity

    async def _use_once(self, signed: SignedCall, bk_app_code: str) -> None:
        requests = self.submitter.requests
        # Twice as long as it is valid: a clock may be ahead, or behind.
        first = requests.client.set(requests.keys.nonce(bk_app_code, signed.bk_nonce), "1", nx=True, ex=2 * VALID_S)
        if not await reaching_redis(first):
            raise Unauthenticated

    async def retry_after(self) -> float:
        """In how many seconds it is worth asking again, from the backlog, read at most twice a second."""
        read_at, backlog = self._backlog
        now = time.monotonic()
        if now - read_at > _BACKLOG_FRESH_S:
            backlog = await self.submitter.backlog()
            self._backlog = (now, backlog)
        return backlog.retry_after


def state_of(request: Request) -> AppState:
    """The parts of the application that serves `request`."""
    state: AppState = request.app.state.bksi
    return state


def trace_headers(exchange: Exchange) -> dict[str, str] | None:
    """The Celery headers that carry the caller's trace on."""
    return {"traceparent": exchange.traceparent} if exchange.traceparent else None
