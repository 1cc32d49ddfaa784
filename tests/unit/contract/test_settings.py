"""A setting that cannot be used is named in one line, without its value."""

import ssl

import pytest

from contract.message import make_celery
from contract.redis.connection import connect
from contract.settings import Settings, SettingsInvalid, load_settings
from worker.consumer.transport.configure import use_transport


@pytest.fixture(autouse=True)
def _read_anew() -> None:
    load_settings.cache_clear()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BKSI_REDIS_URL", "redis://bksi:CANARY@b:c/d@redis:6379/0"),
        ("BKSI_REDIS_URL", "redis://bksi:12/CANARY@redis:6379/0"),
        ("BKSI_BROKER_URL", "amqp://u:CAN#ARY@rabbit//"),
        ("BKSI_POSTGRES_DSN", "postgresql://u:CANARY:x/y@h/d"),
        ("BKSI_POSTGRES_DSN", "CANARY"),
        ("BKSI_READ_DSN", "mysql://u:CANARY@h/d"),
        ("BKSI_HTTP_PORT", "CANARY"),
        ("BKSI_TRANSPORT", "CANARY"),
    ],
)
def test_value_that_cannot_be_used_is_refused_by_name(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsInvalid) as refused:
        load_settings()
    text = str(refused.value)
    assert text.startswith(f"bksi: {name}: ")
    assert "\n" not in text
    assert "CANARY" not in text


def test_urls_that_can_be_read_are_taken() -> None:
    redis, postgres = "redis://u:p%40%3A%2F@h:6379/0", "postgresql://u@/db?host=/run/postgresql"
    settings = Settings(redis_url=redis, postgres_dsn=postgres)
    assert (settings.redis_url, settings.postgres_dsn) == (redis, postgres)


@pytest.mark.parametrize("name", ["BKSI_REDIS_URL", "BKSI_BROKER_URL"])
@pytest.mark.parametrize(
    ("url", "instead"),
    [
        ("sentinel://:CANARY@h:26379/mymaster", "a name before the servers that leads to the primary"),
        ("redis+sentinel://:CANARY@h:26379/mymaster", "a name before the servers that leads to the primary"),
        ("redis+cluster://:CANARY@h:6379", "not supported"),
        ("unix://:CANARY@/run/redis.sock", "redis://127.0.0.1 with a port"),
        ("redis+socket:///run/redis.sock?password=CANARY", "redis://127.0.0.1 with a port"),
        ("memory://", "give redis:// or rediss://"),
        ("CANARY:6379", "give redis:// or rediss://"),
        ("rediss://h/0?ssl_cert_reqs=CANARY", "required, optional, none"),
    ],
)
def test_server_that_not_every_process_can_use_is_refused_with_what_to_give(
    name: str, url: str, instead: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """kombu knows some of them; a worker would then consume unguarded, and the server not connect at all."""
    monkeypatch.setenv(name, url)
    with pytest.raises(SettingsInvalid) as refused:
        load_settings()
    text = str(refused.value)
    assert text.startswith(f"bksi: {name}: ")
    assert instead in text
    assert "CANARY" not in text


@pytest.mark.parametrize("written", ["CERT_REQUIRED", "required", "CERT_NONE", "optional"])
def test_certificate_check_is_written_as_kombu_or_as_redis_py_writes_it(written: str) -> None:
    url = f"rediss://:pw@127.0.0.1:1/0?ssl_cert_reqs={written}&ssl_ca_certs=/etc/ssl/ca.pem"
    settings = Settings(redis_url=url)
    expected = getattr(ssl, f"CERT_{written.upper().removeprefix('CERT_')}")

    ours = connect(settings).connection_pool.make_connection()
    app = make_celery(settings)
    use_transport(app, settings, ["a.v1"])
    with app.connection_for_read() as theirs:
        assert theirs.ssl == {"ssl_cert_reqs": expected, "ssl_ca_certs": "/etc/ssl/ca.pem"}
    app.close()
    assert (ours.ssl_context.cert_reqs, ours.ssl_context.ca_certs) == (expected, "/etc/ssl/ca.pem")


def test_proxies_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BKSI_TRUSTED_PROXIES", "10.0.0.0/8, 192.0.2.1")
    assert load_settings().trusted_proxies == ("10.0.0.0/8", "192.0.2.1")
