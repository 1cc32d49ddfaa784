"""Both generations of Compose, and the shell of a container, take what docker-compose.yml says."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docker-compose.yml").read_text()
GRAFANA = yaml.safe_load(TEXT)["services"]["grafana"]
SECRETS = set(re.findall(r"\$\{([A-Z_]+):\?\}", TEXT))
"""Which have no default, as a unit test says of each."""


def test_grafana_does_not_start_without_a_password() -> None:
    script = GRAFANA["entrypoint"][-1].replace("$$", "$").replace("exec /run.sh", "echo started")
    assert _run(["sh", "-c", script], GF_SECURITY_ADMIN_PASSWORD="x").stdout == "started\n"
    refused = _run(["sh", "-c", script])
    assert (refused.returncode, refused.stderr) == (1, "GRAFANA_PASSWORD is not set\n")


@pytest.mark.parametrize(
    "compose", [pytest.param(["docker-compose"], id="v1"), pytest.param(["docker", "compose"], id="v2")]
)
def test_compose_reads_the_file_and_insists_on_the_secrets(compose: list[str]) -> None:
    # The client is there without its plugin on some machines.
    if shutil.which(compose[0]) is None or _run([*compose, "version"]).returncode:
        pytest.skip(f"no {' '.join(compose)} here")
    command = [*compose, "--file", str(ROOT / "docker-compose.yml"), "config", "--quiet"]
    assert _run(command, **dict.fromkeys(SECRETS, "/x")).returncode == 0
    # That none of them has a default is told by the text; one shows what the tool makes of that.
    both = [*command[:-2], "--file", str(ROOT / "docker-compose.cmdb.yml"), *command[-2:]]
    assert _run(both, **dict.fromkeys(SECRETS | {"BKSI_CMDB_URL"}, "/x")).returncode == 0
    refused = _run(command, **dict.fromkeys(SECRETS - {"REDIS_SENDER_PASSWORD"}, "/x"))
    assert refused.returncode != 0
    assert "REDIS_SENDER_PASSWORD" in refused.stderr


def _run(command: list[str], **env: str) -> "subprocess.CompletedProcess[str]":
    environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", **env}
    # A directory without an .env of somebody's own.
    return subprocess.run(command, env=environment, cwd="/", capture_output=True, text=True, timeout=60, check=False)
