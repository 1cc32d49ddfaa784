"""What every caller stands before: several shims, any of which will do, and any of which may be dead."""

import asyncio
import random
from collections.abc import AsyncIterable, Container, Iterable, Mapping, Sequence
from typing import Any, Final

import httpx2

WAIT_S: Final = 10
"""How long a poll asks to be held."""
REPEATED: Final = (408, 429, 503)
_AGAIN_AFTER_S: Final = (0.1, 0.3)


def essential(document: Mapping[str, Any], names: Iterable[str], items: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """What the judge looks at of a report: a long run has millions of items."""
    kept = [{name: item[name] for name in ("index", "outcome", "service_instance_id")} for item in items]
    return {name: document[name] for name in names} | {"items": kept}


class Door:
    """One caller's way in, with dice of its own."""

    def __init__(self, urls: Sequence[str], choose: random.Random, client: httpx2.AsyncClient) -> None:
        self.choose = choose
        self._urls = urls
        self._client = client

    async def ask(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: Mapping[str, Any] | None = None,
        content: AsyncIterable[bytes] | None = None,
    ) -> httpx2.Response | None:
        """One call to any of the shims; None when it ended without an answer."""
        try:
            return await self._client.request(
                method, self.choose.choice(self._urls) + path, headers=headers, json=body, content=content
            )
        except httpx2.TransportError:
            return None

    async def insist(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: Mapping[str, Any] | None = None,
        repeated: Container[int] = REPEATED,
    ) -> httpx2.Response:
        """The same call until it is answered, otherwise than with a status that asks to come again."""
        while (answer := await self.ask(method, path, headers, body)) is None or answer.status_code in repeated:
            await self.again()
        return answer

    async def again(self) -> None:
        """Wait a moment before the next try."""
        await asyncio.sleep(self.choose.uniform(*_AGAIN_AFTER_S))
