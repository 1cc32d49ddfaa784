"""A setting that cannot be used is named in one line, without its value."""

import os
import subprocess

import pytest

from contract.settings import Settings, SettingsInvalid, load_settings
from devstack.running import BKSI


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


@pytest.mark.bad_input(141, "a password with @ : / in a URL among the settings", "named in one line, without the value")
@pytest.mark.parametrize("command", ["serve", "worker", "migrate", "doctor"])
def test_every_command_says_it_in_one_line(command: str) -> None:
    environment = os.environ | {"BKSI_REDIS_URL": "redis://bksi:CANARY@:/x@redis:6379/0"}
    done = subprocess.run([BKSI, command], env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "BKSI_REDIS_URL" in done.stderr
    assert "CANARY" not in done.stderr + done.stdout


@pytest.mark.parametrize(
    "url", ["redis://u:p%40%3A%2F@h:6379/0", "unix:///run/redis.sock", "postgresql://u@/db?host=/run/postgresql"]
)
def test_urls_that_can_be_read_are_taken(url: str) -> None:
    assert Settings(redis_url=url, postgres_dsn=url).redis_url == url


def test_proxies_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BKSI_TRUSTED_PROXIES", "10.0.0.0/8, 192.0.2.1")
    assert load_settings().trusted_proxies == ("10.0.0.0/8", "192.0.2.1")
