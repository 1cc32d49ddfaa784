"""What every route of the reader needs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from prometheus_client import Gauge
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.requests import Request
from starlette.responses import Response

from api_shim.http.answers import refusal
from api_shim.http.exchange import exchange_of
from api_shim.http.limits import Rates
from api_shim.http.metrics import Metrics
from api_shim.http.paging import Cursors
from api_shim.identity.credentials import Unauthenticated, check_query
from api_shim.identity.doorkeeper import Doorkeeper, Identity
from contract.codes import Code, Refused
from contract.credentials import SIGNATURE_KEYS
from contract.settings import Settings
from worker.postgres.instance_reads import Filter

_NO_BODY: Final[Mapping[str, Any]] = {}


@dataclass(slots=True)
class ReaderState:
    """The parts of one running reader."""

    settings: Settings
    engine: AsyncEngine
    doorkeeper: Doorkeeper
    metrics: Metrics
    cursors: Cursors
    rates: Rates = field(default_factory=Rates)
    nothing: Filter = field(default_factory=lambda: Filter((), ids=[]))
    """Selects no instance."""

    ages: Gauge = field(init=False)
    """Seconds since a business was last read from CMDB."""

    def __post_init__(self) -> None:
        self.ages = Gauge(
            "bksi_catalogue_age_seconds",
            "Since a business was last read from CMDB",
            ("bk_biz_id", "what"),
            registry=self.metrics.registry,
        )

    def admit(self, request: Request, body: Mapping[str, Any] = _NO_BODY) -> Identity:
        """Authenticate the caller of `request` and count the call against its rate of polls.

        A signed call is refused: that it is used once is known in Redis, which a reader does not reach.
        """
        query = request.query_params
        check_query((name, value) for name, value in query.multi_items() if name not in SIGNATURE_KEYS)
        peer = request.client.host if request.client else None
        address = partial(self.doorkeeper.address, request.headers, peer)
        if not self.doorkeeper.is_open:
            self.rates.require_hope(address())
        with self.rates.counting_failures(address):
            if not SIGNATURE_KEYS.isdisjoint(query):
                raise Unauthenticated
            identity = self.doorkeeper.identify(request.headers, body, peer)
        exchange_of(request).bk_app_code = identity.caller.bk_app_code
        self.rates.spend(identity, "poll")
        return identity

    def accounts(self, identity: Identity) -> tuple[str, ...]:
        """Those whose rows the caller sees: its own and "0", as in CMDB (V4)."""
        return tuple({"0", identity.caller.bk_supplier_account})


def state_of(request: Request) -> ReaderState:
    """The parts of the application that serves `request`."""
    state: ReaderState = request.app.state.bksi
    return state


async def database_away(request: Request, _: Exception) -> Response:
    """503: asked again later, the same may be answered."""
    return refusal(exchange_of(request), [Refused(Code.BROKER_UNAVAILABLE)])
