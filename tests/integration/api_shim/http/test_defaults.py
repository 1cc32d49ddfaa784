"""What a body means that leaves ``on_existing`` and ``mode`` out: as the application, else the deployment has it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis as redis_client

from api_shim.http.port import fingerprint
from api_shim.identity.applications import hash_secret
from contract.message import Payload
from contract.redis.records import Keys
from contract.settings import Settings
from tests.integration.api_shim.http.door_client import ESB_PATH, V1_PATH, Client

BODY: dict[str, Any] = {"bk_biz_id": 1, "bk_module_id": 60, "instances": [{"bk_host_id": 2}]}
APPS = f"""
[apps.strict]
secrets = ["{hash_secret("secret")}"]
bk_biz_ids = "*"
on_existing = "fail"
mode = "partial"
[apps.plain]
secrets = ["{hash_secret("secret")}"]
bk_biz_ids = "*"
[apps.lenient]
secrets = ["{hash_secret("secret")}"]
bk_biz_ids = "*"
on_existing = "reuse"
"""


@pytest.fixture
def meant(
    open_door: Callable[..., Client], apps_file: Callable[[str], Path], redis: "redis_client.Redis"
) -> Callable[..., tuple[str, str]]:
    """``meant(app, path, body, **settings)`` → what the accepted batch says: `on_existing` and `mode`."""
    path = apps_file(APPS)

    def submit(app: str, url: str, body: dict[str, Any] | None = None, **settings: Any) -> tuple[str, str]:
        headers = {"X-Bkapi-Authorization": json.dumps({"bk_app_code": app, "bk_app_secret": "secret"})}
        door = open_door(apps_file=path, **settings)
        answer = door.post(url, BODY | (body or {}), headers=headers).json()
        request_id = answer["request_id"]
        if "job_id" in answer:
            batches = door.get(f"/v1/jobs/{answer['job_id']}/batches", headers=headers).json()["batches"]
            (request_id,) = [batch["request_id"] for batch in batches]
        assert "warnings" not in answer or answer["warnings"] == []
        batch = Payload.load(redis.hget(Keys("bksi:").request(request_id), "payload")).batch
        return batch.on_existing, batch.mode

    return submit


@pytest.mark.parametrize("url", [V1_PATH, "/v1/jobs"])
def test_application_then_deployment_then_this_interface(meant: Callable[..., tuple[str, str]], url: str) -> None:
    assert meant("plain", url) == ("reuse", "atomic")
    assert meant("strict", url) == ("fail", "partial")
    assert meant("plain", url, on_existing="fail", mode="partial") == ("fail", "partial")
    assert meant("lenient", url, on_existing="fail") == ("reuse", "atomic")


def test_what_a_body_says_wins_and_null_says_nothing(meant: Callable[..., tuple[str, str]]) -> None:
    assert meant("strict", V1_PATH, {"on_existing": "reuse", "mode": "atomic"}) == ("reuse", "atomic")
    assert meant("strict", V1_PATH, {"on_existing": None, "mode": None}) == ("fail", "partial")


def test_compat_paths_are_all_or_nothing_without_a_warning(meant: Callable[..., tuple[str, str]]) -> None:
    assert meant("strict", ESB_PATH, mode="partial") == ("fail", "atomic")


def test_servers_with_other_defaults_do_not_share_a_port() -> None:
    assert fingerprint(Settings()) != fingerprint(Settings(on_existing="fail"))
