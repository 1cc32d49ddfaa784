"""The server as a process of its own: bytes on the wire, signals, the commands and the client that call it."""

import asyncio
import json
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
import redis as redis_client

from api_shim.http.port import listen
from api_shim.identity.applications import hash_secret
from api_shim.identity.credentials import without_credentials
from bksi_client import AsyncClient, Client, RequestRefused, StillRunning, Unanswered
from chaos.nursery import Child, Nursery
from contract.settings import Settings
from devstack import sample
from devstack.ports import free_port
from tests.conftest import RunBksi
from tests.integration.live import running

Serve = Callable[..., tuple[Child, str]]


@contextmanager
def _serving(nursery: Nursery, log: Path, *options: str, **environment: str) -> Iterator[tuple[Child, str]]:
    """A server and its URL, for the length of the block."""
    port = free_port()
    settings = {"BKSI_HTTP_PORT": str(port), "BKSI_COMPAT_WAIT_S": "0", **environment}
    with running(nursery, "serve", *options, environment=settings, log=log, ready=lambda: _answers(port)) as process:
        yield process, f"http://127.0.0.1:{port}"


def _answers(port: int) -> bool:
    try:
        httpx2.get(f"http://127.0.0.1:{port}/healthz")
    except httpx2.TransportError:
        return False
    return True


@pytest.fixture
def serve(nursery: Nursery, redis_url: str, tmp_path: Path) -> Iterator[Serve]:
    """``serve("--share-port", BKSI_…="…")`` → a server of this test's own, and its URL."""
    with ExitStack() as started:

        def start(*options: str, **environment: str) -> tuple[Child, str]:
            settings = {"BKSI_REDIS_URL": redis_url, **environment}
            return started.enter_context(_serving(nursery, tmp_path / "serve.log", *options, **settings))

        yield start


@pytest.fixture(scope="module")
def url(nursery: Nursery, redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    log = tmp_path_factory.mktemp("server") / "serve.log"
    with _serving(nursery, log, BKSI_REDIS_URL=redis_url) as (process, url):
        yield url
    assert process.returncode == 0


def _exchange(url: str, *parts: bytes, timeout: float = 15) -> bytes:
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=timeout) as connection:
        for part in parts:
            connection.sendall(part)
        received = b""
        while b"\r\n\r\n" not in received and (chunk := connection.recv(65536)):
            received += chunk
        return received


ESB = b"/api/c/compapi/v2/cc/create_service_instance/"
HEAD = b"POST /v1/batches HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


@pytest.mark.rule("V0", "the body cannot be read: 1199004", ours="when it is sent too slowly, with HTTP 408")
@pytest.mark.parametrize(
    ("number", "sent", "status"),
    [
        (22, HEAD + b"Content-Length: 4194305\r\n\r\n", b"413"),
        (22, HEAD + b"Transfer-Encoding: chunked\r\n\r\n500000\r\n" + b" " * 0x500000, b"413"),
        (26, HEAD + b"X: " + b"a" * 70_000 + b"\r\n\r\n", b"431"),
        (26, HEAD + b"".join(b"X%d: a\r\n" % n for n in range(500)) + b"\r\n", b"431"),
    ],
)
@pytest.mark.bad_input(22, "a body over 4 MiB, announced or in chunks", "413/1190013 without reading on")
@pytest.mark.bad_input(26, "70 KB of a header, 500 headers", "431")
def test_request_beyond_a_limit_is_answered_without_the_rest(url: str, number: int, sent: bytes, status: bytes) -> None:
    assert _exchange(url, sent).split(b" ")[1] == status


CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n"
GET = b"GET /healthz HTTP/1.1\r\n"


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (CHUNKED + b"\r\n+5\r\nhello\r\n0\r\n\r\n", 1199004),
        (CHUNKED + b"\r\nzz\r\nhello\r\n0\r\n\r\n", 1199004),
        (CHUNKED.replace(b"/v1/batches", ESB) + b"\r\n+5\r\nhello\r\n0\r\n\r\n", 1199004),
        (HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", 1199006),
        (GET + b"\r\n", 1199006),
        (GET + b"Host:\r\n\r\n", 1199006),
        (GET + b"Host: a b\r\n\r\n", 1199006),
        (GET + b"Host: localhost\r\nHost: localhost\r\n\r\n", 1199006),
        (HEAD + b"Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}", 1199006),
        (HEAD + b"Idempotency-Key: a\r\nIdempotency-Key: a\r\nContent-Length: 2\r\n\r\n{}", 1199006),
        (HEAD + b"X-Bkapi-Authorization: {}\r\nX-Bkapi-Authorization: {}\r\nContent-Length: 2\r\n\r\n{}", 1199006),
    ],
)
@pytest.mark.bad_input(23, "a body whose chunks are none, or that ends early", "400/1199004 on every path")
@pytest.mark.bad_input(23, "a Transfer-Encoding other than chunked", "400/1199006")
@pytest.mark.bad_input(23, "no Host, two, or a malformed one", "400/1199006")
@pytest.mark.bad_input(85, "a header of which there is one, twice", "400/1199006; none is picked")
def test_request_that_two_readers_may_read_differently_is_refused(url: str, sent: bytes, code: int) -> None:
    head, _, body = _exchange(url, sent).partition(b"\r\n\r\n")
    assert head.split(b" ")[1] == b"400"
    assert json.loads(body)["code"] == code


@pytest.mark.bad_input(
    23, "Content-Length beside Transfer-Encoding", "read by the latter, and the connection closed (RFC 9112 6.1)"
)
@pytest.mark.parametrize("length", [2, 6, 60])
def test_no_second_request_hides_behind_two_lengths(url: str, length: int) -> None:
    hidden = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"
    sent = CHUNKED + b"Content-Length: %d\r\n\r\n2\r\n{}\r\n0\r\n\r\n" % length + hidden
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=15) as connection:
        connection.sendall(sent)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.count(b"HTTP/1.1 ") == 1
    assert answer.startswith(b"HTTP/1.1 400 ")


def test_body_that_ends_early_is_answered_with_its_code(url: str) -> None:
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=15) as connection:
        connection.sendall(HEAD + b"Content-Length: 100\r\n\r\n{")
        connection.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.split(b" ")[1] == b"400"
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == 1199004


def test_head_is_get_without_the_body(url: str, seed: dict[str, Any]) -> None:
    location = httpx2.post(f"{url}/v1/batches", json=seed).headers["Location"]
    for path, status in (("/healthz", 200), ("/v1/batches", 200), (location, 200), (f"{location}/items", 200)):
        head = httpx2.head(f"{url}{path}")
        assert (head.status_code, head.content) == (status, b"")
        assert int(head.headers["Content-Length"]) == len(httpx2.get(f"{url}{path}").content)
    assert httpx2.head(f"{url}/api/v3/create/proc/service_instance").status_code == 405


@pytest.mark.bad_input(
    89, "a web page, open in a browser of this machine, that calls the anonymous server", "403/9900403; no row"
)
@pytest.mark.bad_input(89, "the anonymous server under another name (DNS rebinding)", "403/9900403")
@pytest.mark.parametrize(
    ("headers", "field"),
    [
        ({"Origin": "http://evil.example"}, "header.origin"),
        ({"Origin": "null"}, "header.origin"),
        ({"Origin": "http://localhost:1"}, "header.origin"),
        ({"Host": "evil.example"}, "header.host"),
        ({"Host": "192.0.2.1:8080"}, "header.host"),
    ],
)
def test_anonymous_means_this_machines_user(
    url: str, redis: "redis_client.Redis", headers: dict[str, str], field: str
) -> None:
    body = sample.REQUEST.read_bytes()
    refused = httpx2.post(f"{url}/v1/batches", content=body, headers={"Content-Type": "application/json", **headers})
    assert (refused.status_code, refused.json()["code"]) == (403, 9900403)
    assert refused.json()["errors"][0]["path"] == field
    # As a form would: without a preflight, on a path that takes a body without a type.
    assert httpx2.post(f"{url}{ESB.decode()}", content=body, headers=headers).json()["code"] == 9900403
    assert httpx2.get(f"{url}/metrics", headers=headers).status_code == 403
    assert redis.keys("bksi:req:*") == []
    own = {"Origin": url, "Content-Type": "application/json"}
    assert httpx2.post(f"{url}/v1/batches", content=body, headers=own).status_code == 202


@pytest.mark.bad_input(24, "a body that does not come", "408/1199004 after 5 s, or below 1 KB/s; at most 10 s")
def test_body_that_does_not_come_is_given_up_on_every_kind_of_path(url: str) -> None:
    paths = (b"/v1/batches", b"/api/c/compapi/v2/cc/create_service_instance/", b"/api/v3/create/proc/service_instance")
    sent = [HEAD.replace(b"/v1/batches", path) + b"Content-Length: 100\r\n\r\n{" for path in paths]
    with ThreadPoolExecutor() as pool:
        answers = list(pool.map(lambda request: _exchange(url, request), sent))
    assert [answer.split(b" ")[1] for answer in answers] == [b"408"] * 3


@pytest.mark.bad_input(25, "headers that never end, a connection that stays idle", "cut off after BKSI_KEEP_ALIVE_S")
def test_idle_connection_and_headers_that_never_end_are_cut_off(serve: Serve) -> None:
    _, url = serve(BKSI_KEEP_ALIVE_S="1")
    host, port = url.removeprefix("http://").split(":")
    assert _exchange(url, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n") == b""
    with socket.create_connection((host, int(port)), timeout=30) as idle:
        idle.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b"200 OK" in idle.recv(65536)
        assert idle.recv(65536) == b""


def test_connection_stays_open_for_longer_than_a_proxy_keeps_its_own() -> None:
    assert Settings().keep_alive_s > 60


@pytest.mark.bad_input(117, "waiting, and leaving without the answer", "the place among those who wait is free at once")
def test_caller_who_leaves_gives_his_place_to_another(serve: Serve, seed: dict[str, Any]) -> None:
    _, url = serve(BKSI_MAX_OPEN_WAITS="1", BKSI_MAX_WAIT_S="60", BKSI_COMPAT_WAIT_S="60")
    host, port = url.removeprefix("http://").split(":")
    body = json.dumps(seed).encode()
    with httpx2.Client(base_url=url, timeout=60) as http:
        request_id = http.post("/v1/batches", json=seed).json()["request_id"]
        poll = f"GET /v1/batches/{request_id} HTTP/1.1\r\nHost: localhost\r\nPrefer: wait=60\r\n\r\n".encode()
        compat = HEAD.replace(b"/v1/batches", b"/api/v3/create/proc/service_instance")
        for sent in (poll, compat + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)):
            with socket.create_connection((host, int(port)), timeout=30) as waiting:
                waiting.sendall(sent)
                _wait_for_open_waits(http, 1)
            _wait_for_open_waits(http, 0)


def _wait_for_open_waits(http: httpx2.Client, number: int) -> None:
    deadline = time.monotonic() + 30
    while f"bksi_http_open_waits {number}.0" not in http.get("/metrics").text:
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.bad_input(117, "waiting while the server is told to stop", "answered at once")
def test_signal_answers_whoever_waits_and_exits_cleanly(
    serve: Serve, seed: dict[str, Any], number: signal.Signals
) -> None:
    process, url = serve(BKSI_COMPAT_WAIT_S="60")
    with httpx2.Client(base_url=url, timeout=60) as http, ThreadPoolExecutor() as pool:
        request_id = http.post("/v1/batches", json=seed).json()["request_id"]
        waiting = pool.submit(http.get, f"/v1/batches/{request_id}", headers={"Prefer": "wait=20"})
        _wait_for_open_waits(http, 1)
        process.signal(number)
        assert waiting.result(timeout=15).json()["status"] == "PENDING"
    assert process.wait(15) == 0


def test_dead_redis_is_503_at_once_and_the_server_lives(serve: Serve, seed: dict[str, Any]) -> None:
    _, dead = serve(BKSI_REDIS_URL="redis://127.0.0.1:1/0")
    answer = httpx2.post(f"{dead}/v1/batches", json=seed, timeout=10)
    assert (answer.status_code, answer.json()["code"]) == (503, 1190007)
    assert "Retry-After" in answer.headers
    compat = httpx2.post(f"{dead}/api/v3/create/proc/service_instance", json=seed, timeout=10)
    assert (compat.status_code, compat.json()["bk_error_code"]) == (200, 1190007)
    ready = httpx2.get(f"{dead}/readyz")
    assert (ready.status_code, ready.json()["checks"]["redis"]) == (503, False)
    assert httpx2.get(f"{dead}/healthz").status_code == 200
    with Client(dead, patience_s=0) as client, pytest.raises(RequestRefused) as raised:
        client.submit(seed, idempotency_key="mine")
    assert (raised.value.idempotency_key, raised.value.retry_after) == ("mine", 2.0)


def test_port_is_shared_only_when_asked_and_by_servers_of_one_configuration(
    serve: Serve, bksi: RunBksi, redis_url: str, tmp_path: Path
) -> None:
    apps = tmp_path / "apps.toml"
    apps.write_text(f'[apps.a]\nsecrets = ["{hash_secret("s" * 32)}"]\nbk_biz_ids = []\n')
    _, url = serve("--share-port", BKSI_COMPAT_WAIT_S="20")
    same = Settings(redis_url=redis_url, http_port=int(url.rpartition(":")[2]))
    refused = bksi("serve", env={"BKSI_REDIS_URL": redis_url, "BKSI_HTTP_PORT": str(same.http_port)})
    assert refused.returncode == 1
    assert len(refused.stderr.strip().splitlines()) == 1
    assert "is in use. Choose another BKSI_HTTP_PORT" in refused.stderr
    for change in ({"apps_file": apps}, {"redis_url": f"{redis_url[:-1]}1"}, {"key_prefix": "other:"}):
        with pytest.raises(OSError, match="in use by a server of another configuration"):
            listen(same.model_copy(update=change), share=True)
    with listen(same, share=True) as second:
        assert second.getsockname()[1] == same.http_port


def test_port_of_somebody_else_is_in_use() -> None:
    with socket.create_server(("127.0.0.1", 0), reuse_port=True) as foreign, ThreadPoolExecutor() as pool:
        settings = Settings(http_port=foreign.getsockname()[1])
        with pytest.raises(OSError, match="is in use"):
            listen(settings, share=False)
        asked = pool.submit(listen, settings, share=True)
        with foreign.accept()[0] as connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        with pytest.raises(OSError, match="of another configuration"):
            asked.result()
    with listen(settings, share=False), pytest.raises(OSError, match="is in use"):
        listen(settings, share=True)


def test_public_address_without_applications_does_not_start(bksi: RunBksi, redis_url: str) -> None:
    ended = bksi("serve", env={"BKSI_REDIS_URL": redis_url, "BKSI_HTTP_HOST": "0.0.0.0"})
    assert ended.returncode == 1
    assert "BKSI_APPS_FILE" in ended.stderr


def test_commands_submit_and_ask(
    bksi: RunBksi, url: str, seed: dict[str, Any], tmp_path: Path, unknown_id: str
) -> None:
    file = tmp_path / "request.json"
    file.write_text(json.dumps(seed))

    def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
        return bksi(*arguments, "--url", url)

    submitted = run("submit", str(file), "--json")
    assert submitted.returncode == 0
    request_id = json.loads(submitted.stdout)["request_id"]
    assert json.loads(run("status", request_id, "--json").stdout)["status"] == "PENDING"
    unknown = run("status", unknown_id)
    assert (unknown.returncode, "1190002" in unknown.stderr) == (1, True)
    assert run("submit", str(file), "--wait", "0.1").returncode == 3


def test_client_repeats_under_one_key_and_tells_running_from_refused(url: str, seed: dict[str, Any]) -> None:
    with Client(url) as client:
        first = client.submit(seed)
        assert client.submit(seed, idempotency_key=first.idempotency_key).request_id == first.request_id
        assert (first.status()["status"], first.done(), next(first.progress())["statistics"]["pending_count"]) == (
            "PENDING",
            False,
            1,
        )
        with pytest.raises(TimeoutError) as running:
            first.result(timeout=0.01)
        assert isinstance(running.value, StillRunning)
        assert running.value.operation is first
        with pytest.raises(RequestRefused) as refused:
            client.submit(seed | {"bk_biz_id": "1"}, idempotency_key="k")
        assert (refused.value.status_code, refused.value.envelope["code"], refused.value.idempotency_key) == (
            400,
            1199009,
            "k",
        )
        assert first.cancel()["status"] == "TERMINATED"
        assert client.create_service_instance(seed)["code"] == 1190001


def test_client_cuts_any_number_of_instances_into_requests(url: str) -> None:
    instances = [{"bk_host_id": n} for n in range(1, 252)]
    with Client(url) as client:
        operations = client.submit_many({"bk_biz_id": 1, "bk_module_id": 60, "instances": instances})
        assert [operation.status()["statistics"]["total_count"] for operation in operations] == [100, 100, 51]


def test_async_client_does_the_same(url: str, seed: dict[str, Any]) -> None:
    async def scenario() -> None:
        async with AsyncClient(url) as client:
            operation = await client.submit(seed)
            assert (await operation.status())["status"] == "PENDING"
            with pytest.raises(StillRunning):
                await operation.result(timeout=0.01)
            assert (await operation.cancel())["status"] == "TERMINATED"

    asyncio.run(scenario())


def test_client_comes_again_when_the_server_says(serve: Serve, seed: dict[str, Any], tmp_path: Path) -> None:
    apps = tmp_path / "apps.toml"
    apps.write_text(
        f'[apps.slow]\nsecrets = ["{hash_secret("s")}"]\nbk_biz_ids = "*"\nrate = "1/second"\npoll_rate = "1/second"'
    )
    _, url = serve(BKSI_APPS_FILE=str(apps))
    who, seed = {"bk_app_code": "slow", "bk_app_secret": "s"}, without_credentials(seed)
    with Client(url, **who, patience_s=0) as hasty, pytest.raises(RequestRefused) as refused:
        list(hasty.submit_many(seed | {"instances": [{"bk_host_id": 2}] * 2_000}))
    assert (refused.value.status_code, refused.value.envelope["code"]) == (429, 1199997)
    assert refused.value.retry_after == 1
    assert refused.value.idempotency_key is not None
    with Client(url, **who) as client:
        assert client.submit(seed).request_id
        # The old path says it with 200 and the same code.
        assert client.create_service_instance(seed)["code"] == 1190001

    async def mirrored() -> None:
        async with AsyncClient(url, **who) as client:
            assert (await client.submit(seed)).request_id

    asyncio.run(mirrored())


def test_server_that_is_away_gives_an_error_with_the_key(seed: dict[str, Any]) -> None:
    with Client(f"http://127.0.0.1:{free_port()}", patience_s=0.3) as client:
        with pytest.raises(Unanswered) as unanswered:
            client.submit(seed)
        assert unanswered.value.idempotency_key is not None
        with pytest.raises(Unanswered):
            client.poll("0" * 32)
