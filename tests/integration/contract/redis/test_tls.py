"""Redis behind TLS, its certificate checked, with the URL as kombu's users write it. The wheel's server has no TLS."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from kombu.exceptions import OperationalError
from redis.exceptions import ConnectionError as RedisConnectionError

from contract.message import make_celery
from contract.redis.connection import connect
from contract.settings import Settings
from devstack.ports import free_port
from devstack.process import Guard, ProcessFailed
from devstack.servers import Valkey
from tests.certificate import self_signed
from worker.consumer.transport.configure import use_transport

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def url(guard: Guard, tmp_path: Path) -> Iterator[str]:
    """Of a server with TLS; its certificate is in `tmp_path`."""
    certificate, key = self_signed(tmp_path)
    port = free_port()
    settings = {"tls-port": str(port), "tls-cert-file": str(certificate), "tls-key-file": str(key)}
    settings |= {"tls-ca-cert-file": str(certificate), "tls-auth-clients": "no"}
    server = Valkey(tmp_path / "redis", guard, settings=settings)
    try:
        server.start()
    except ProcessFailed:
        pytest.skip("this server has no TLS; `make test-matrix` brings one that has")
    yield f"rediss://:{server.password}@127.0.0.1:{port}/0?ssl_cert_reqs=CERT_REQUIRED"
    server.stop()


async def test_certificate_is_checked_by_both_kinds_of_connections(url: str, tmp_path: Path) -> None:
    await _connect(Settings(redis_url=f"{url}&ssl_ca_certs={tmp_path / 'server.crt'}"))
    with pytest.raises(RedisConnectionError):
        await _ping(Settings(redis_url=url))
    with pytest.raises(OperationalError):
        _consume(Settings(redis_url=url))


async def _connect(settings: Settings) -> None:
    await _ping(settings)
    _consume(settings)


async def _ping(settings: Settings) -> None:
    client = connect(settings, connections=1)
    try:
        assert await client.ping()
    finally:
        await client.aclose()


def _consume(settings: Settings) -> None:
    app = make_celery(settings)
    use_transport(app, settings, ["a.v1"])
    with app.connection_for_read() as connection:
        connection.ensure_connection(max_retries=1)
        connection.default_channel.client.ping()
    app.close()
