"""What every route needs: the submitter, who may call, how often, and how long callers may be kept waiting."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from starlette.requests import Request

from api_shim.http.cursor import Cursors
from api_shim.http.exchange import Exchange, exchange_of
from api_shim.http.metrics import Metrics
from api_shim.http.rates import Rates
from api_shim.http.waits import OpenWaits
from api_shim.identity import Doorkeeper, Identity, refuse_query_credentials
from api_shim.submitter import Backlog, Submitter
from contract.settings import Settings

_BACKLOG_FRESH_S = 0.5


@dataclass(slots=True)
class Door:
    """The parts of one running application."""

    settings: Settings
    submitter: Submitter
    doorkeeper: Doorkeeper
    waits: OpenWaits
    metrics: Metrics
    cursors: Cursors
    rates: Rates = field(default_factory=Rates)
    _backlog: tuple[float, Backlog] = (0.0, Backlog(0, 1.0))

    def admit(
        self, request: Request, purpose: Literal["submit", "poll"], body: Mapping[str, Any] | None = None
    ) -> Identity:
        """Authenticate the caller of `request` and count the call against its rate."""
        refuse_query_credentials(request.query_params)
        identity = self.doorkeeper.identify(
            request.headers, body or {}, request.client.host if request.client else None
        )
        exchange_of(request).bk_app_code = identity.caller.bk_app_code
        self.rates.spend(identity, purpose)
        return identity

    async def retry_after(self) -> float:
        """In how many seconds it is worth asking again, from the backlog, read at most twice a second."""
        read_at, backlog = self._backlog
        now = time.monotonic()
        if now - read_at > _BACKLOG_FRESH_S:
            backlog = await self.submitter.backlog()
            self._backlog = (now, backlog)
        return backlog.retry_after


def door_of(request: Request) -> Door:
    """The parts of the application that serves `request`."""
    door: Door = request.app.state.door
    return door


def trace_headers(exchange: Exchange) -> dict[str, str] | None:
    """The Celery headers that carry the caller's trace on."""
    return {"traceparent": exchange.traceparent} if exchange.traceparent else None
