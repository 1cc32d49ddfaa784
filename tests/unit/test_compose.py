"""docker-compose.yml says what it must."""

import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from contract.redis.replay import DEFAULT_USER
from contract.settings import Settings
from devstack.redis_users import configuration

ROOT = Path(__file__).parents[2]
SECRETS = {"POSTGRES_PASSWORD", "REDIS_PASSWORD", "REDIS_FLOWER_PASSWORD", "REDIS_SENDER_PASSWORD", "FLOWER_PASSWORD"}
SECRETS |= {"BKSI_APPS_FILE"}
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
BESIDE_CMDB: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.cmdb.yml").read_text())["services"]
OURS = ("migrate", "worker", "shim", "flower", "catalogue", "watch")
FIXED = {"redis_url", "postgres_dsn", "key_prefix", "http_host", "http_port", "apps_file", "senders_file"}
FIXED |= {
    "metrics_port",
    "cmdb_authorization",
    "state_dir",
    "transport",
    "allow_insecure",
    "failpoints",
    "failpoints_dir",
}
FIXED |= {"metrics_port", "read_dsn", "read_port", "read_timeout_ms", "cmdb_url", "cmdb_supplier_account"}
DELIVERY = {"deliver", "answer_after", "deliveries_at_once", "cmdb_settle_s"}
FIXED |= DELIVERY
"""What the file decides itself, or what only tests want."""


def test_every_service_of_the_system_is_there() -> None:
    assert {"postgres", "redis", "migrate", "worker", "shim", "flower"} <= set(SERVICES)


@pytest.mark.parametrize("name", sorted(SERVICES))
@pytest.mark.bad_input(120, "a container that runs as root", "none does; no capability, no new privilege")
def test_service_is_not_root_gains_no_privilege_and_tells_its_health(name: str) -> None:
    service = SERVICES[name]
    assert service["user"].split(":")[0] not in ("", "0", "root")
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "healthcheck" in service or service["restart"] == "no"


@pytest.mark.parametrize("name", OURS)
def test_our_services_share_one_image_with_a_read_only_root(name: str) -> None:
    service = SERVICES[name]
    assert service["image"] == SERVICES["shim"]["image"]
    assert service["build"]["args"].keys() == {"PYTHON_IMAGE"}
    assert service["read_only"] is True
    assert service["user"] == "10001:10001"


def test_nothing_starts_before_what_it_needs() -> None:
    waits_for = {
        name: {needed: how["condition"] for needed, how in SERVICES[name].get("depends_on", {}).items()}
        for name in OURS
    }
    assert waits_for["migrate"] == {"postgres": "service_healthy"}
    assert waits_for["worker"] == {"migrate": "service_completed_successfully", "redis": "service_healthy"}
    assert waits_for["shim"] == {"redis": "service_healthy", "worker": "service_started"}
    assert waits_for["flower"] == {"redis": "service_healthy"}


def test_redis_keeps_what_was_accepted() -> None:
    command = SERVICES["redis"]["command"][-1]
    assert "--appendonly yes --appendfsync always --maxmemory-policy noeviction" in command
    # Off, and with its rights: tests/integration/contract/redis/test_restart.py shows what comes of each.
    assert f"--{DEFAULT_USER} --user" in command


def test_users_of_redis_are_those_that_the_chaos_run_breaks() -> None:
    words = shlex.split(SERVICES["redis"]["command"][-1].replace("$$", ""))
    assert list(configuration("")) == [*_users(words), "user operator on >-operator ~* &* +@all"]


def _users(words: list[str]) -> Iterator[str]:
    """As lines of a configuration file, each with the password that the devstack makes of none."""
    for user in " ".join(words).split("--user ")[1:]:
        name, rules = user.strip().split(" ", 1)
        yield f"user {name} {re.sub('>[A-Z_]+', f'>-{name}', rules)}" if name != "default" else DEFAULT_USER


@pytest.mark.bad_input(106, "Flower open to everybody", "on loopback, with a password, read-only; `bksi doctor` knocks")
@pytest.mark.bad_input(
    107, "Flower's /metrics and /healthcheck, which ask for no password", "reached from this machine only"
)
def test_flower_is_on_loopback_behind_a_password_and_changes_nothing() -> None:
    flower = SERVICES["flower"]
    assert flower["ports"] == ["${FLOWER_PUBLISH:-127.0.0.1:5555}:5555"]
    assert "FLOWER_BASIC_AUTH" in flower["environment"]
    # Which makes it read-only: test_flower.
    assert flower["command"][0] == "flower"
    assert "FLOWER_UNAUTHENTICATED_API" not in flower["environment"]


def test_monitoring_is_asked_for_and_on_loopback() -> None:
    for name in ("prometheus", "grafana"):
        service = SERVICES[name]
        assert service["profiles"] == ["monitoring"]
        assert [port.split(":-")[1].split(":")[0] for port in service["ports"]] == ["127.0.0.1"]
        assert f"{name}:/" in service["volumes"][0]  # its data outlast the container
    # Where Prometheus looks for the others is where they are.
    jobs = yaml.safe_load((ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text())["scrape_configs"]
    targets = {job["dns_sd_configs"][0]["names"][0]: job["dns_sd_configs"][0]["port"] for job in jobs}
    assert targets == {"shim": 8080, "worker": int(SERVICES["worker"]["environment"]["BKSI_METRICS_PORT"])}


def test_databases_are_reached_from_inside_only() -> None:
    for name in ("postgres", "redis"):
        assert "ports" not in SERVICES[name]
        assert SERVICES[name]["networks"] == ["inside"]


def test_no_secret_has_a_default() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    for secret in SECRETS:
        assert text.count(f"${{{secret}") == text.count(f"${{{secret}:?}}") > 0


def test_only_beside_a_cmdb_do_workers_have_a_way_out() -> None:
    assert SERVICES["worker"]["networks"] == ["inside"]
    assert BESIDE_CMDB["worker"]["networks"] == ["inside", "outside"]
    assert not [key for key in SERVICES["worker"]["environment"] if key.startswith("BKSI_CMDB")]
    asked = {key for key in SERVICES["watch"]["environment"] if key.startswith("BKSI_CMDB")}
    delivery = {f"BKSI_{setting.upper()}" for setting in DELIVERY}
    assert asked | delivery == set(BESIDE_CMDB["worker"]["environment"])
    assert asked == {"BKSI_CMDB_URL", "BKSI_CMDB_AUTHORIZATION", "BKSI_CMDB_SUPPLIER_ACCOUNT"}


def test_what_keeps_up_with_cmdb_is_started_on_demand() -> None:
    watch = SERVICES["watch"]
    assert (watch["profiles"], watch["networks"]) == (["cmdb"], ["inside", "outside"])
    assert watch["command"] == ["catalogue", "watch", "--instances"]


@pytest.mark.parametrize("name", ["worker", "shim"])
def test_every_setting_is_passed_on_or_decided_here(name: str) -> None:
    passed = {key for key, value in SERVICES[name]["environment"].items() if value is None}
    assert passed == {f"BKSI_{setting.upper()}" for setting in set(Settings.model_fields) - FIXED}


def test_no_setting_is_passed_on_twice() -> None:
    """Newer generations of Compose read no file with such a mistake; PyYAML does."""
    text = (ROOT / "docker-compose.yml").read_text()
    block = re.findall(r"^  (BKSI_[A-Z_]+):$", text, re.M)
    assert len(block) == len(set(block)) > 0


def test_image_has_every_package_of_the_wheel() -> None:
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    for package in wheel["packages"]:
        assert f"COPY {package} {package}\n" in (ROOT / "Dockerfile").read_text()
        assert f"!{package}\n" in (ROOT / ".dockerignore").read_text()


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_logs_have_an_end(name: str) -> None:
    assert SERVICES[name]["logging"]["options"].keys() == {"max-size", "max-file"}


def test_files_of_the_host_must_be_there_and_are_only_read() -> None:
    binds = [
        volume
        for service in SERVICES.values()
        for volume in service.get("volumes", ())
        if not isinstance(volume, str) or volume.startswith((".", "/", "$"))
    ]
    assert len(binds) == 6
    for volume in binds:
        # The long syntax: the short one takes a path without ./ for a volume, and makes a directory of a missing file.
        assert (volume["type"], volume["read_only"]) == ("bind", True)


def test_database_user_of_server_and_workers_is_no_superuser() -> None:
    postgres = SERVICES["postgres"]
    assert "POSTGRES_USER" not in postgres["environment"]
    assert "postgresql://bksi:" in SERVICES["worker"]["environment"]["BKSI_POSTGRES_DSN"]
    script = (ROOT / "deploy" / "postgres" / "create-database.sh").read_text()
    assert "CREATE ROLE bksi LOGIN PASSWORD :'password';\nCREATE DATABASE bksi OWNER bksi;" in script
