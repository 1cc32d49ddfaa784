"""Drops the reports that PostgreSQL has kept long enough, so that a late poller is told "gone" and the table ends."""

import asyncio
from typing import Final

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from contract.settings import Settings
from worker.store import ledger
from worker.store.errors import StoreError

_log = structlog.get_logger(__name__)
_EVERY_S: Final = 3600.0


async def keep_to_retention(engine: AsyncEngine, settings: Settings) -> None:
    """Purge for ever, every hour, beginning now. Several processes at once share the work."""
    while True:
        try:
            purged = await ledger.purge(
                engine, ledger_days=settings.ledger_days, skeleton_days=2 * settings.ledger_days
            )
        except StoreError as error:
            _log.warning("reports not purged", error=str(error))
        else:
            if purged:
                _log.info("purged", reports=purged)
        await asyncio.sleep(_EVERY_S)
