"""The task that carries deliveries."""

import asyncio
from typing import TYPE_CHECKING, Any

import structlog

from contract.redis.connection import RedisError
from plumbing.logs import frames_of
from worker.postgres.errors import DatabaseError
from worker.walk.take import arguments_of

if TYPE_CHECKING:
    from worker.runtime import Runtime

_log = structlog.get_logger(__name__)


async def deliver(runtime: "Runtime", kwargs: dict[str, Any]) -> str:
    """Hand on what waits in a request's module; whatever happens, PostgreSQL knows what is left and who is next."""
    request_id = arguments_of(kwargs).request_id
    if runtime.deliverer is None:
        return "no CMDB is configured"
    walk = asyncio.current_task()
    assert walk is not None  # noqa: S101 - a coroutine of this loop is a task of it
    runtime.walks.add(walk)
    try:
        return await runtime.deliverer.deliver(request_id)
    except asyncio.CancelledError:
        walk.uncancel()  # the process shuts down, and this task has to end in order
        return "handed back"
    except (DatabaseError, RedisError, OSError) as error:
        _log.warning("delivery broken off", request_id=request_id, error=type(error).__name__)
        return "broken off"
    except Exception as error:  # noqa: BLE001 - as in the walk: whatever it is
        _log.error("delivery failed", request_id=request_id, error=type(error).__name__, frames=frames_of(error))
        return "broken off"
    finally:
        runtime.walks.discard(walk)
