"""The SDK that BlueKing's applications use today (`bkapi-component-open`), on the paths it knows, unchanged."""

from collections.abc import Iterator
from typing import Any

import pytest
from bkapi_component.open.client import Client as Sdk

from api_shim.identity.applications import hash_secret
from bksi_client import Client
from chaos.nursery import Nursery
from devstack.ports import free_port
from tests.acceptance.calls import SEED, SIX_KEYS, bound, count_rows
from tests.acceptance.pair import Pair
from tests.integration.live import answers, running

APP = {"bk_app_code": "old_app", "bk_app_secret": "secret", "bk_username": "admin"}
BODY = {key: value for key, value in SEED.items() if key not in (*APP, "bk_token")}


def sdk(url: str, version: str = "v2", **identity: str) -> Sdk:
    client = Sdk(endpoint=url, bk_api_ver=version, language="en")
    client.update_bkapi_authorization(**(identity or APP))
    return client


@pytest.fixture(scope="module")
def strict_shim(pair: Pair, nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A second server of the running system: it knows one application, and never waits for rows."""
    directory = tmp_path_factory.mktemp("shim")
    apps = directory / "apps.toml"
    apps.write_text(f'[apps.old_app]\nsecrets = ["{hash_secret("secret")}"]\nbk_biz_ids = [1]\n')
    url = f"http://127.0.0.1:{(port := free_port())}"
    environment = {
        "BKSI_REDIS_URL": pair.redis,
        "BKSI_HTTP_PORT": str(port),
        "BKSI_APPS_FILE": str(apps),
        "BKSI_COMPAT_WAIT_S": "0",
    }
    log = directory / "shim.log"
    with running(nursery, "serve", environment=environment, log=log, ready=lambda: answers(f"{url}/readyz")):
        yield url


@pytest.mark.parametrize("version", ["v2", ""])
def test_call_is_done_when_it_returns(pair: Pair, version: str) -> None:
    envelope = sdk(pair.http, version).cc.create_service_instance(BODY)

    assert list(envelope) == SIX_KEYS
    assert (envelope["result"], envelope["code"], len(envelope["data"])) == (True, 0, 1)


def test_call_that_fails_carries_the_code(pair: Pair) -> None:
    envelope = sdk(pair.http).cc.create_service_instance(bound(2, module=999))

    assert (envelope["result"], envelope["code"], envelope["data"]) == (False, 1101034, None)


def test_call_that_still_runs_says_so_and_is_done_later(pair: Pair, strict_shim: str) -> None:
    accepted = sdk(strict_shim).cc.create_service_instance(bound(35))
    assert (accepted["result"], accepted["code"], accepted["data"]) == (False, 1190001, None)

    with Client(strict_shim, bk_app_code="old_app", bk_app_secret="secret") as client:
        while (report := client.poll(accepted["request_id"], 20))["status"] in ("PENDING", "RUNNING"):
            pass
    assert report["status"] == "SUCCESS"
    assert sdk(pair.http).cc.create_service_instance(bound(35))["data"] == report["data"]


@pytest.mark.parametrize(
    ("body", "identity", "code"),
    [
        (bound(0), APP, 1199006),
        (bound(36), APP | {"bk_app_secret": "wrong"}, 1306401),
        (bound(36), {"bk_app_code": "nobody", "bk_app_secret": "secret"}, 1306401),
        (bound(36) | {"bk_biz_id": 2}, APP, 9900403),
    ],
    ids=["bad host", "wrong secret", "unknown application", "another business"],
)
def test_call_that_is_refused_is_an_envelope_all_the_same(
    pair: Pair, strict_shim: str, body: dict[str, Any], identity: dict[str, str], code: int
) -> None:
    before = count_rows(pair.postgres)
    envelope = sdk(strict_shim, **identity).cc.create_service_instance(body)

    assert list(envelope) == SIX_KEYS
    assert (envelope["result"], envelope["code"], envelope["data"]) == (False, code, None)
    assert (envelope["permission"] is not None) == (code == 9900403)
    assert count_rows(pair.postgres) == before
