"""Who is let in, and what they may see: over HTTP, with a file of applications."""

import base64
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import jwt
import pytest
import redis as redis_client
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from api_shim.http.server import InsecureBinding, require_safe_binding
from api_shim.identity.applications import hash_secret
from api_shim.identity.credentials import without_credentials
from contract.redis.records import Keys, Note
from contract.settings import Settings
from tests.integration.api_shim.http.door_client import ESB_PATH, V1_PATH, Client

SECRET, OTHER_SECRET = "CANARY-secret-1", "CANARY-secret-2"
SIGNING_KEY = "CANARY-signing-key"


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def _public(key: rsa.RSAPrivateKey) -> str:
    return (
        key.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )


@pytest.fixture
def guarded(
    open_door: Callable[..., Client], apps_file: Callable[[str], Path], key: rsa.RSAPrivateKey
) -> Callable[..., Client]:
    path = apps_file(
        f"""
        [apps.esb_test]
        secrets = ["{hash_secret("old")}", "{hash_secret(SECRET)}"]
        bk_biz_ids = [1]
        [apps.other]
        secrets = ["{hash_secret(OTHER_SECRET)}"]
        bk_biz_ids = "*"
        rate = "2/hour"
        [apps.through_the_gateway]
        bk_biz_ids = "*"
        [apps.signing]
        signing_keys = ["an-older-signing-key", "{SIGNING_KEY}"]
        bk_biz_ids = "*"
        [gateways.bk-apigateway]
        public_key = '''{_public(key)}'''
        """
    )
    return lambda **settings: open_door(apps_file=path, **settings)


@pytest.fixture
def seed(seed: dict[str, Any]) -> dict[str, Any]:
    """With the user alone: credentials of its own would contradict those of the header."""
    return without_credentials(seed) | {"bk_username": seed["bk_username"]}


def _as(app: str, secret: str, **more: str) -> dict[str, str]:
    return {"X-Bkapi-Authorization": json.dumps({"bk_app_code": app, "bk_app_secret": secret, **more})}


def _body(seed: dict[str, Any], app: str, secret: str) -> dict[str, Any]:
    return seed | {"bk_app_code": app, "bk_app_secret": secret}


def test_credentials_of_the_body_are_enough(guarded: Callable[..., Client], seed: dict[str, Any]) -> None:
    assert guarded().post(V1_PATH, _body(seed, "esb_test", SECRET)).status_code == 202


@pytest.mark.rule(
    "A37",
    "X-Bkapi-Authorization wins over credentials in the body",
    ours="both may say the same; where they differ the request is refused",
)
@pytest.mark.bad_input(85, "one caller in the header, another in the body", "401/1306401, whoever is right")
def test_header_and_body_may_not_contradict_each_other(guarded: Callable[..., Client], seed: dict[str, Any]) -> None:
    door = guarded()
    good, bad = _as("esb_test", SECRET), _as("esb_test", "wrong")
    assert door.post(V1_PATH, _body(seed, "esb_test", SECRET), headers=good).status_code == 202
    for headers, body, field in (
        (good, _body(seed, "esb_test", "wrong"), "bk_app_secret"),
        (good, _body(seed, "other", OTHER_SECRET), "bk_app_code"),
        (good, _body(seed, "esb_test", SECRET) | {"app_code": "other"}, "app_code"),
        (good | _as("esb_test", SECRET, bk_username="a"), seed | {"bk_username": "b"}, "bk_username"),
    ):
        refused = door.post(V1_PATH, body, headers=headers)
        assert (refused.status_code, refused.json()["errors"][0]["path"]) == (401, field)
        assert "another value is given elsewhere" in refused.json()["message"]
    assert door.post(V1_PATH, _body(seed, "esb_test", SECRET), headers=bad).status_code == 401


@pytest.mark.parametrize(
    ("app", "secret"),
    [("esb_test", "wrong"), ("esb_test", ""), ("nobody", SECRET), ("", ""), ("through_the_gateway", "")],
)
@pytest.mark.bad_input(86, "unknown application, wrong secret, none", "401/1306401, alike; constant-time comparison")
def test_unknown_application_and_wrong_secret_answer_alike(
    guarded: Callable[..., Client], seed: dict[str, Any], app: str, secret: str
) -> None:
    door = guarded()
    answer = door.post(V1_PATH, seed, headers=_as(app, secret))
    assert (answer.status_code, answer.json()["code"]) == (401, 1306401)
    assert answer.json()["errors"] == [{"path": "", "code": 1306401, "message": answer.json()["message"]}]
    compat = door.post(ESB_PATH, seed, headers=_as(app, secret))
    assert (compat.status_code, compat.json()["code"]) == (200, 1306401)


def _basic(app: str, secret: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{app}:{secret}".encode()).decode()}


def test_application_and_secret_by_http_basic_are_enough_on_every_path(
    guarded: Callable[..., Client], seed: dict[str, Any]
) -> None:
    door, login = guarded(), _basic("esb_test", SECRET)
    location = door.post(V1_PATH, seed, headers=login).headers["Location"]
    assert door.get(location, headers=login).json()["status"] == "PENDING"
    assert door.get(V1_PATH, headers=login).json()["batches"][0]["request_id"] in location
    assert door.post(f"{location}:cancel", b"", headers=login).status_code == 200
    assert door.post(ESB_PATH, seed, headers=login).json()["code"] == 1190001
    assert door.get("/v1/jobs", headers=_basic("esb_test", "old")).status_code == 200
    both = door.get(location, headers={**login, **_as("esb_test", SECRET, bk_username="admin")})
    assert both.status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        _basic("esb_test", "wrong"),
        _basic("nobody", SECRET),
        _basic("", ""),
        {"Authorization": "Basic %%%"},
        {"Authorization": "Basic /w=="},
        {"Authorization": "Basic "},
        {"Authorization": f"Bearer {SECRET}"},
        {**_basic("other", OTHER_SECRET), **_as("esb_test", SECRET)},
        {**_basic("esb_test", "old"), **_as("esb_test", SECRET)},
    ],
)
@pytest.mark.bad_input(86, "HTTP Basic that is wrong, none, or contradicts the header", "401/1306401")
def test_basic_that_is_wrong_or_contradicts_lets_nobody_in(
    guarded: Callable[..., Client], headers: dict[str, str]
) -> None:
    assert guarded().get(V1_PATH, headers=headers).json()["code"] == 1306401


def test_browser_is_asked_to_log_in_and_a_program_for_its_header(guarded: Callable[..., Client]) -> None:
    door = guarded()
    page = door.get("/", headers={"Accept": "text/html"})
    assert (page.status_code, page.headers["WWW-Authenticate"]) == (401, 'Basic realm="bksi", charset="UTF-8"')
    assert "Check application code, secret and user" in page.text
    assert door.get(V1_PATH).headers["WWW-Authenticate"] == "X-Bkapi-Authorization"
    assert door.get("/", headers={"Accept": "text/html", **_basic("esb_test", SECRET)}).status_code == 200
    assert door.get("/assets/page.css").status_code == 200


@pytest.mark.parametrize(
    ("headers", "is_let_in"),
    [
        ({}, True),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "https://behind.a.proxy"}, True),
        ({"Sec-Fetch-Site": "none"}, True),
        ({"Origin": "http://localhost"}, True),
        ({"Sec-Fetch-Site": "cross-site"}, False),
        ({"Sec-Fetch-Site": "same-site", "Origin": "http://localhost"}, False),
        ({"Sec-Fetch-Site": "?"}, False),
        ({"Origin": "http://evil.example"}, False),
        ({"Origin": "null"}, False),
    ],
)
@pytest.mark.bad_input(122, "a page of another site, in a browser that has logged in", "403/9900403, but for GET")
def test_page_of_another_site_cannot_use_the_login(
    guarded: Callable[..., Client], seed: dict[str, Any], headers: dict[str, str], is_let_in: bool
) -> None:
    door, login = guarded(), _basic("esb_test", SECRET)
    location = door.post(V1_PATH, seed, headers=login).headers["Location"]
    for path, body in ((f"{location}:cancel", b""), (V1_PATH, seed), (ESB_PATH, seed)):
        answer = door.post(path, body, headers={**login, **headers})
        assert (answer.status_code != 403) is is_let_in
        if not is_let_in:
            assert answer.json()["code"] == 9900403
            assert "other sites" in answer.json()["message"]
    assert door.get(location, headers={**login, **headers}).json()["status"] != "TERMINATED" or is_let_in
    # What no browser sends by itself is nobody else's to use.
    assert door.post(V1_PATH, seed, headers={**_as("esb_test", SECRET), **headers}).status_code == 202


@pytest.mark.rule("5.3", "a missing permission: 9900403 and what IAM would have to grant")
def test_foreign_business_answers_403_with_iams_permission(
    guarded: Callable[..., Client], seed: dict[str, Any], redis: "redis_client.Redis"
) -> None:
    answer = guarded().post(V1_PATH, seed | {"bk_biz_id": 2}, headers=_as("esb_test", SECRET))

    assert (answer.status_code, answer.json()["code"]) == (403, 9900403)
    [action] = answer.json()["permission"]["actions"]
    assert action["id"] == "create_biz_service_instance"
    [resource] = action["related_resource_types"]
    assert resource["instances"][0][0]["id"] == "2"
    assert redis.keys() == []


def test_another_applications_request_is_unknown(
    guarded: Callable[..., Client], seed: dict[str, Any], unknown_id: str, redis: "redis_client.Redis"
) -> None:
    door = guarded()
    location = door.post(V1_PATH, seed, headers=_as("esb_test", SECRET)).headers["Location"]
    redis.set(Keys("bksi:").unknown(location.rpartition("/")[2]), Note().dump())
    mine, theirs = _as("esb_test", SECRET), _as("other", OTHER_SECRET)

    assert door.get(location, headers=mine).status_code == 200
    foreign, unknown = (door.get(path, headers=theirs) for path in (location, f"/v1/batches/{unknown_id}"))
    assert (foreign.status_code, foreign.json() | {"request_id": ""}) == (404, unknown.json() | {"request_id": ""})
    assert door.get(f"{location}/items", headers=theirs).status_code == 404
    assert door.get("/v1/batches", headers=theirs).json()["batches"] == []
    for act in (":cancel", ":retry"):
        assert door.call("POST", location + act, headers=theirs).status_code in (404, 429)


@pytest.mark.bad_input(78, "one idempotency key of two applications", "two requests")
def test_same_key_of_two_applications_is_two_keys(guarded: Callable[..., Client], seed: dict[str, Any]) -> None:
    door = guarded()
    answers = [
        door.post(V1_PATH, body, headers={"Idempotency-Key": "k", **who})
        for who, body in (
            (_as("esb_test", SECRET), seed),
            (_as("other", OTHER_SECRET), seed | {"bk_module_id": 61}),
        )
    ]
    assert [answer.status_code for answer in answers] == [202, 202]


@pytest.mark.bad_input(116, "more submits than an application's rate", "429/1199997 with Retry-After")
def test_rate_is_429_with_retry_after(guarded: Callable[..., Client], seed: dict[str, Any]) -> None:
    door = guarded()
    answers = [door.post(V1_PATH, seed, headers=_as("other", OTHER_SECRET)) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [202, 202, 429]
    assert answers[2].json()["code"] == 1199997
    assert 1 <= int(answers[2].headers["Retry-After"]) <= 3600
    assert door.post(V1_PATH, seed, headers=_as("esb_test", SECRET)).status_code == 202
    assert door.post(ESB_PATH, seed, headers=_as("other", OTHER_SECRET)).json()["code"] == 1199997


def test_no_credential_reaches_redis_or_the_log(
    guarded: Callable[..., Client],
    seed: dict[str, Any],
    redis: "redis_client.Redis",
    capsys: pytest.CaptureFixture[str],
) -> None:
    door = guarded()
    body = _body(seed, "esb_test", SECRET) | {"bk_token": "CANARY-token", "access_token": "CANARY-access"}
    assert door.post(V1_PATH, body).status_code == 202
    for bad in (
        body | {"bk_biz_id": "CANARY-value"},
        body | {"bk_app_secret": "CANARY-wrong"},
        body | {"x": "CANARY-x"},
    ):
        assert "CANARY" not in door.post(V1_PATH, bad).text

    stored = b"".join(_everything(redis))
    assert b"CANARY" not in stored
    assert b"esb_test" in stored
    assert "CANARY" not in "".join(capsys.readouterr())
    assert "CANARY" not in door.get("/metrics").text


def _everything(redis: "redis_client.Redis") -> list[bytes]:
    """Every key, and every value as Redis dumps it, messages decoded."""
    found: list[bytes] = []
    for name in redis.scan_iter():
        found += [name, redis.dump(name) or b""]
        if redis.type(name) == b"hash":
            found += [value for pair in redis.hgetall(name).items() for value in pair]
        if redis.type(name) == b"list":
            messages = [json.loads(value) for value in redis.lrange(name, 0, -1)]
            found += [base64.b64decode(message["body"]) for message in messages]
    return found


def _token(key: Any, algorithm: str = "RS512", kid: str = "bk-apigateway", **changes: Any) -> dict[str, str]:
    now = datetime.now(tz=UTC)
    claims: dict[str, Any] = {
        "iss": "APIGW",
        "exp": now + timedelta(minutes=5),
        "nbf": now - timedelta(minutes=1),
        "app": {"app_code": "through_the_gateway", "verified": True},
        "user": {"username": "admin", "verified": True},
    }
    claims |= changes
    return {"X-Bkapi-JWT": jwt.encode(claims, key, algorithm=algorithm, headers={"kid": kid})}


def test_gateways_token_lets_its_application_in(
    guarded: Callable[..., Client], seed: dict[str, Any], key: rsa.RSAPrivateKey
) -> None:
    door = guarded()
    location = door.post(V1_PATH, seed, headers=_token(key)).headers["Location"]
    assert door.get(location, headers=_token(key)).status_code == 200


def _unsigned(key: rsa.RSAPrivateKey) -> dict[str, str]:
    header = base64.urlsafe_b64encode(b'{"alg":"none","kid":"bk-apigateway"}').rstrip(b"=")
    claims = _token(key)["X-Bkapi-JWT"].split(".")[1]
    return {"X-Bkapi-JWT": f"{header.decode()}.{claims}."}


def _signed_with_the_public_key(key: rsa.RSAPrivateKey) -> dict[str, str]:
    """HS256 with the public key's text as its secret, which PyJWT itself refuses to make."""
    header = base64.urlsafe_b64encode(b'{"alg":"HS256","kid":"bk-apigateway","typ":"JWT"}').rstrip(b"=").decode()
    signed = f"{header}.{_token(key)['X-Bkapi-JWT'].split('.')[1]}"
    mac = hmac.new(_public(key).encode(), signed.encode(), hashlib.sha256).digest()
    return {"X-Bkapi-JWT": f"{signed}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"}


PAST = datetime(2020, 1, 1, tzinfo=UTC)
BAD_TOKENS: dict[str, Callable[[rsa.RSAPrivateKey], dict[str, str]]] = {
    "alg none": _unsigned,
    "HS256 with the public key": _signed_with_the_public_key,
    "RS256": lambda key: _token(key, "RS256"),
    "expired": lambda key: _token(key, exp=PAST),
    "not yet valid": lambda key: _token(key, nbf=datetime.now(tz=UTC) + timedelta(hours=1)),
    "without an end": lambda key: _token(key, exp=None),
    "another issuer": lambda key: _token(key, iss="EVIL"),
    "another gateway": lambda key: _token(key, kid="evil"),
    "another key": lambda _: _token(rsa.generate_private_key(public_exponent=65537, key_size=2048)),
    "application not verified": lambda key: _token(key, app={"app_code": "other", "verified": False}),
    "no application": lambda key: _token(key, app=None),
    "garbage": lambda _: {"X-Bkapi-JWT": "garbage"},
    "too long": lambda _: {"X-Bkapi-JWT": "a" * 20_000},
}


@pytest.mark.parametrize("name", BAD_TOKENS)
@pytest.mark.bad_input(
    83, "a gateway's token: alg none, HS256 with the public key, expired, of another gateway …", "401/1100004"
)
def test_bad_token_is_401_whatever_else_is_sent(
    guarded: Callable[..., Client], seed: dict[str, Any], key: rsa.RSAPrivateKey, name: str
) -> None:
    headers = BAD_TOKENS[name](key) | _as("esb_test", SECRET)
    answer = guarded().post(V1_PATH, seed, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (401, 1100004)


def test_token_from_outside_the_proxies_is_refused(
    guarded: Callable[..., Client], seed: dict[str, Any], key: rsa.RSAPrivateKey
) -> None:
    proxied, direct = (guarded(trusted_proxies=("10.0.0.0/8",), peer=peer) for peer in ("10.1.2.3", "192.0.2.1"))
    assert proxied.post(V1_PATH, seed, headers=_token(key)).status_code == 202
    assert direct.post(V1_PATH, seed, headers=_token(key)).status_code == 401


def _signed(method: str, path: str, body: bytes, key: str = SIGNING_KEY, **changes: str) -> str:
    """`path` with a query as ESB's callers sign it."""
    query = {"bk_app_code": "signing", "bk_timestamp": str(int(time.time())), "bk_nonce": secrets.token_hex(8)}
    query |= changes
    pairs = query | ({"data": body.decode()} if body else {})
    text = f"{method}{path}?" + "&".join(f"{name}={pairs[name]}" for name in sorted(pairs))
    signature = base64.b64encode(hmac.new(key.encode(), text.encode(), hashlib.sha1).digest()).decode()
    return f"{path}?{urlencode(query | {'bk_signature': signature})}"


@pytest.mark.parametrize("path", [ESB_PATH, V1_PATH])
@pytest.mark.bad_input(82, "a signed request that was captured", "401/1306401 at the second time")
def test_signed_request_is_let_in_once_82(guarded: Callable[..., Client], seed: dict[str, Any], path: str) -> None:
    door, body = guarded(), json.dumps(seed).encode()
    signed = _signed("POST", path, body)

    first, captured = door.post(signed, body), door.post(signed, body)

    assert first.json()["code"] in (0, 1190001)
    assert captured.json()["code"] == 1306401
    assert captured.status_code == (401 if path == V1_PATH else 200)
    poll = f"{V1_PATH}/{first.json()['request_id']}"
    assert door.get(_signed("GET", poll, b"")).status_code == 200
    assert door.get(_signed("GET", poll, b"", key="an-older-signing-key")).status_code == 200


@pytest.mark.parametrize("minutes", [-6, 6])
@pytest.mark.bad_input(82, "a signed request, six minutes off", "401/1306401")
def test_signature_of_another_time_is_refused_82(
    guarded: Callable[..., Client], seed: dict[str, Any], minutes: int
) -> None:
    body = json.dumps(seed).encode()
    stamp = str(int(time.time()) + 60 * minutes)
    assert guarded().post(_signed("POST", V1_PATH, body, bk_timestamp=stamp), body).status_code == 401


@pytest.mark.bad_input(82, "a signature of another path, body or application", "401/1306401")
def test_signature_is_for_this_path_this_body_and_this_application_82(
    guarded: Callable[..., Client], seed: dict[str, Any], redis: "redis_client.Redis"
) -> None:
    door, body = guarded(), json.dumps(seed).encode()
    forged = [
        _signed("POST", V1_PATH, b"{}"),
        _signed("GET", V1_PATH, body),
        _signed("POST", "/v1/jobs", body).replace("/v1/jobs", V1_PATH),
        _signed("POST", V1_PATH, body) + "&strict=1",
        _signed("POST", V1_PATH, body, key="somebody-elses-key"),
        _signed("POST", V1_PATH, body, bk_nonce=""),
        _signed("POST", V1_PATH, body, bk_nonce="n&x=0"),
        _signed("POST", V1_PATH, body, bk_nonce="n" * 65),
        _signed("POST", V1_PATH, body, note="a&strict=1"),
        _signed("POST", V1_PATH, b"", data=body.decode()),
        _signed("POST", V1_PATH, body, bk_timestamp="now"),
        _signed("POST", V1_PATH, body, bk_app_code="esb_test", key=SECRET),
        _signed("POST", V1_PATH, body, bk_app_code="nobody"),
    ]
    assert [door.post(path, body).status_code for path in forged] == [401] * len(forged)
    assert redis.keys() == []


def test_signature_lets_no_secret_into_the_query_82(guarded: Callable[..., Client], seed: dict[str, Any]) -> None:
    body = json.dumps(seed).encode()
    answer = guarded().post(_signed("POST", V1_PATH, body, bk_app_secret="x"), body)
    assert (answer.status_code, answer.json()["errors"][0]["path"]) == (401, "query.bk_app_secret")


@pytest.mark.parametrize("header", ["X-Bkcmdb-User", "BK_User"])
@pytest.mark.bad_input(84, "X-Bkcmdb-User or BK_User from outside", "ignored")
def test_forwarded_user_is_believed_from_a_proxy_only(
    open_door: Callable[..., Client], seed: dict[str, Any], redis: "redis_client.Redis", header: str
) -> None:
    def stored_user(peer: str) -> str:
        redis.flushall()
        door = open_door(trusted_proxies=("10.0.0.0/8",), peer=peer)
        request_id = door.post(V1_PATH, seed, headers={header: "admin"}).json()["request_id"]
        payload = json.loads(redis.hget(f"bksi:req:{request_id}", "payload"))
        return str(payload["caller"]["bk_username"])

    assert stored_user("10.1.2.3") == "admin"
    assert stored_user("192.0.2.1") == seed["bk_username"]


def test_supplier_account_of_somebody_else_is_refused(guarded: Callable[..., Client], seed: dict[str, Any]) -> None:
    headers = _as("esb_test", SECRET) | {"X-Bkcmdb-Supplier-Account": "tencent"}
    answer = guarded().post(V1_PATH, seed, headers=headers)
    assert answer.json()["errors"][0]["path"] == "bk_supplier_account"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.com", ""])
@pytest.mark.bad_input(89, "a public address without any application", "the server does not start")
def test_open_door_binds_to_loopback_only(host: str, apps_file: Callable[[str], Path]) -> None:
    with pytest.raises(InsecureBinding):
        require_safe_binding(Settings(http_host=host))
    require_safe_binding(Settings(http_host=host, apps_file=apps_file("")))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_open_door_binds_to_loopback(host: str) -> None:
    require_safe_binding(Settings(http_host=host))
