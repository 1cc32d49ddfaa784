"""The client for an event loop: `bksi_client.blocking` with ``await``."""

import asyncio
import time
import uuid
from collections.abc import Mapping
from typing import Any, Self

import httpx2

from bksi_client import calls
from bksi_client.calls import Json, Look
from bksi_client.errors import StillRunning, Unanswered


class AsyncOperation:
    """A submitted request."""

    def __init__(self, client: "AsyncClient", request_id: str, idempotency_key: str | None = None) -> None:
        self._client = client
        self.request_id = request_id
        self.idempotency_key = idempotency_key

    async def status(self, wait_s: float = 0) -> Json:
        """Like `Operation.status`."""
        return await self._client.poll(self.request_id, wait_s)

    async def done(self) -> bool:
        """Like `Operation.done`."""
        return (await self._client.look(self.request_id)).is_final

    async def wait(self, timeout: float | None = None) -> Json:  # noqa: ASYNC109 - the caller's own budget
        """Like `Operation.wait`."""
        ends_at = None if timeout is None else time.monotonic() + timeout
        while True:
            left = calls.LONGEST_POLL_S if ends_at is None else max(ends_at - time.monotonic(), 0)
            look = await self._client.look(self.request_id, min(left, calls.LONGEST_POLL_S))
            if look.is_final:
                return look.report
            if ends_at is not None and time.monotonic() >= ends_at:
                raise StillRunning(self)
            await asyncio.sleep(look.pause(ends_at))

    async def result(self, timeout: float | None = None) -> Json:  # noqa: ASYNC109 - the caller's own budget
        """Like `Operation.result`."""
        return calls.outcome(await self.wait(timeout), self.idempotency_key)

    async def progress(self) -> dict[str, int]:
        """Like `Operation.progress`."""
        return dict((await self.status())["statistics"])

    async def cancel(self) -> Json:
        """Like `Operation.cancel`."""
        return await self._client.act(self.request_id, "cancel")

    async def retry(self) -> "AsyncOperation":
        """Like `Operation.retry`."""
        return AsyncOperation(self._client, (await self._client.act(self.request_id, "retry"))["request_id"])


class AsyncClient:
    """`Client` for an event loop, with the same arguments."""

    def __init__(
        self,
        url: str,
        *,
        bk_app_code: str = "",
        bk_app_secret: str = "",
        bk_username: str = "",
        patience_s: float = 60.0,
    ) -> None:
        headers = calls.identity_headers(bk_app_code, bk_app_secret, bk_username)
        self._patience_s = patience_s
        self._http = httpx2.AsyncClient(base_url=url, headers=headers, timeout=calls.HTTP_TIMEOUT_S)

    async def __aenter__(self) -> Self:
        """Nothing is opened before the first call."""
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Close the connections."""
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def submit(self, batch: Mapping[str, Any], idempotency_key: str | None = None) -> AsyncOperation:
        """Like `Client.submit`."""
        key = idempotency_key or uuid.uuid4().hex
        answer = calls.answer(await self._send(calls.submission(batch, key), key), key)
        return AsyncOperation(self, answer["request_id"], key)

    async def submit_many(self, batch: Mapping[str, Any], idempotency_key: str | None = None) -> list[AsyncOperation]:
        """Like `Client.submit_many`."""
        key = idempotency_key or uuid.uuid4().hex
        return [await self.submit(part, f"{key}.{number}") for number, part in enumerate(calls.parts(batch))]

    async def act(self, request_id: str, verb: str) -> Json:
        """Like `Client.act`."""
        return calls.answer(await self._send(calls.act(request_id, verb)))

    async def poll(self, request_id: str, wait_s: float = 0) -> Json:
        """Like `Client.poll`."""
        return (await self.look(request_id, wait_s)).report

    async def look(self, request_id: str, wait_s: float = 0) -> Look:
        """Like `Client.look`."""
        asked_at = time.monotonic()
        response = await self._send(calls.poll(request_id, wait_s))
        return Look(calls.answer(response), asked_at, wait_s, calls.retry_after(response) or 1)

    async def validate(self, batch: Mapping[str, Any]) -> Json:
        """Like `Client.validate`."""
        return calls.answer(await self._send(calls.validation(batch)))

    async def create_service_instance(self, payload: Mapping[str, Any]) -> Json:
        """Like `Client.create_service_instance`."""
        return calls.answer(await self._send(calls.old_call(payload)))

    async def _send(self, call: Json, key: str | None = None) -> httpx2.Response:
        try:
            async for attempt in calls.repetitions(self._patience_s):
                with attempt:
                    return calls.unless_busy(await self._http.request(**call))
        except calls.Busy as busy:
            return busy.response
        except httpx2.TransportError as error:
            raise Unanswered(f"{type(error).__name__}: {error}", key) from error
        raise AssertionError  # stamina raises the last error instead of running out
