"""Calls the HTTP application in this process."""

import asyncio
import json
from typing import Any

import httpx2
from starlette.types import Message, Send

from api_shim.http.app import create_app
from api_shim.http.state import AppState
from contract.settings import Settings

ESB_PATH = "/api/c/compapi/v2/cc/create_service_instance/"
NATIVE_PATH = "/api/v3/create/proc/service_instance"
V1_PATH = "/v1/batches"


class Client:
    """Calls one application object; its event loop only runs during a call."""

    def __init__(self, settings: Settings, peer: str = "127.0.0.1") -> None:
        self._runner = asyncio.Runner()
        self.app = create_app(settings)
        self._lifespan = self.app.router.lifespan_context(self.app)
        self._runner.run(self._lifespan.__aenter__())
        self.http = httpx2.AsyncClient(
            transport=httpx2.ASGITransport(self.app, client=(peer, 40000)), base_url="http://localhost"
        )

    @property
    def door(self) -> AppState:
        door: AppState = self.app.state.bksi
        return door

    def run(self, coroutine: Any) -> Any:
        return self._runner.run(coroutine)

    def call(self, method: str, path: str, **kwargs: Any) -> httpx2.Response:
        answer: httpx2.Response = self.run(self.http.request(method, path, **kwargs))
        return answer

    async def raw(self, method: str, path: str, headers: dict[str, str], send: Send) -> None:
        """Call it as a server does: `send` is given each part of the answer as it is made."""
        head = [(name.lower().encode(), value.encode()) for name, value in {"Host": "localhost", **headers}.items()]
        scope = {"type": "http", "http_version": "1.1", "method": method, "path": path, "headers": head}
        asgi = {"asgi": {"version": "3.0", "spec_version": "2.4"}, "query_string": b"", "client": ("127.0.0.1", 40000)}

        async def receive() -> Message:
            return {"type": "http.request", "body": b"", "more_body": False}

        await self.app(scope | asgi, receive, send)

    def get(self, path: str, **kwargs: Any) -> httpx2.Response:
        return self.call("GET", path, **kwargs)

    def post(self, path: str, body: Any = None, **kwargs: Any) -> httpx2.Response:
        """`body`: bytes as they are, anything else as JSON."""
        headers = {"Content-Type": "application/json", **kwargs.pop("headers", {})}
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.call("POST", path, content=content, headers=headers, **kwargs)

    def close(self) -> None:
        self._runner.run(self.http.aclose())
        self._runner.run(self._lifespan.__aexit__(None, None, None))
        self._runner.close()
