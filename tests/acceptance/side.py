"""A second shim on a system's Redis: it knows applications, has little room, and its messages reach no worker."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from api_shim.identity.applications import hash_secret
from chaos.nursery import Nursery
from devstack.ports import free_port
from tests.integration.live import answers, running

CHINESE = {"X-Bkcmdb-Language": "zh-cn"}
ROOM = 3
"""Unfinished requests that the side shim accepts, unless told otherwise."""
BUGS = 2
"""The first submits that it fails."""

Ask = Callable[[Mapping[str, str]], httpx2.Response]
"""Makes one call with further headers."""


class Said(NamedTuple):
    """An answer in both languages."""

    english: dict[str, Any]
    chinese: dict[str, Any]

    @classmethod
    def of(cls, ask: Ask) -> "Said":
        """Make the call twice."""
        return cls(ask({}).json(), ask(CHINESE).json())


class Side(NamedTuple):
    """Calls the side shim as one of its applications: ``known`` (business 1) or ``slow`` (one submit an hour)."""

    http: httpx2.Client

    def ask(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None, app: str = "known"
    ) -> Ask:
        own = {"X-Bkapi-Authorization": json.dumps({"bk_app_code": app, "bk_app_secret": app}), **(headers or {})}
        return lambda more: self.http.request(method, path, json=body, headers={**own, **more})

    def accept(self, body: dict[str, Any]) -> str:
        """The request_id of a batch that waits for a worker."""
        answer = self.ask("POST", "/v1/batches", body)({})
        assert answer.status_code == 202, answer.text
        return str(answer.json()["request_id"])

    def poll(self, request_id: str) -> Ask:
        return self.ask("GET", f"/v1/batches/{request_id}", headers={"Prefer": "wait=20"})


@contextmanager
def side_shim(redis: str, nursery: Nursery, directory: Path, room: int = ROOM) -> Iterator[Side]:
    """Run one for the length of the block; `room` is how many unfinished requests it accepts."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key()
    pem = key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()
    apps, port = directory / "apps.toml", free_port()
    apps.write_text(
        f'[apps.known]\nsecrets = ["{hash_secret("known")}"]\nbk_biz_ids = [1]\n'
        f'[apps.slow]\nsecrets = ["{hash_secret("slow")}"]\nbk_biz_ids = "*"\nrate = "1/hour"\n'
        f"[gateways.bk-apigateway]\npublic_key = '''{pem}'''\n"
    )
    environment = {
        "BKSI_REDIS_URL": redis,
        "BKSI_BROKER_URL": redis.rpartition("/")[0] + "/5",
        "BKSI_HTTP_PORT": str(port),
        "BKSI_APPS_FILE": str(apps),
        "BKSI_COMPAT_WAIT_S": "0",
        "BKSI_MAX_PENDING": str(room),
        # A bug, as far as its callers can tell.
        "BKSI_FAILPOINTS": f"before_submit=raise:{BUGS}",
    }
    url = f"http://127.0.0.1:{port}"
    shim = running(
        nursery, "serve", environment=environment, log=directory / "log", ready=lambda: answers(f"{url}/healthz")
    )
    with shim, httpx2.Client(base_url=url, timeout=60) as http:
        yield Side(http)
