"""Whom the client trusts, and through whom it calls."""

import asyncio
import ssl
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from bksi_client import AsyncClient, Client, Unanswered

ID = "7" * 32


class Answering(BaseHTTPRequestHandler):
    """Answers everything, and keeps what it was asked for."""

    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def asked() -> list[str]:
    return []


@pytest.fixture
def serve(asked: list[str]) -> Iterator[Callable[[ssl.SSLContext | None], int]]:
    started: list[ThreadingHTTPServer] = []

    def serve(context: ssl.SSLContext | None = None) -> int:
        server = ThreadingHTTPServer(("127.0.0.1", 0), type("Server", (Answering,), {"asked": asked}))
        if context is not None:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        started.append(server)
        return server.server_port

    yield serve
    for server in started:
        server.shutdown()
        server.server_close()


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """Of 127.0.0.1, and its own authority; the key stands in the same file."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(tz=UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "bksi test")])
    address = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(address, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file = tmp_path / "certificate.pem"
    file.write_bytes(signed.public_bytes(pem) + private)
    return file


def _get(url: str, **options: Any) -> int:
    with Client(url, retries=0, **options) as client:
        return client.request("GET", "/readyz").status_code


def _get_awaited(url: str, **options: Any) -> int:
    async def main() -> int:
        async with AsyncClient(url, retries=0, **options) as client:
            return (await client.request("GET", "/readyz")).status_code

    return asyncio.run(main())


@pytest.mark.parametrize("get", [_get, _get_awaited])
def test_only_an_authority_that_is_named_is_trusted(
    serve: Callable[..., int], certificate: Path, get: Callable[..., int]
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    url = f"https://127.0.0.1:{serve(context)}"

    assert get(url, verify=ssl.create_default_context(cafile=certificate)) == 200
    assert get(url, verify=str(certificate)) == 200
    with pytest.raises(Unanswered, match="certificate"):
        get(url)


@pytest.mark.parametrize("get", [_get, _get_awaited])
def test_calls_go_through_the_proxy_that_is_named(
    serve: Callable[..., int], asked: list[str], get: Callable[..., int]
) -> None:
    assert get("http://bksi.invalid:8080", proxy=f"http://127.0.0.1:{serve()}") == 200
    assert asked == ["http://bksi.invalid:8080/readyz"]
