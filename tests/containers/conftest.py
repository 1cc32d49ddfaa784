"""The system of docker-compose.yml, up once for all tests of this folder and gone afterwards."""

import json
import secrets
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

import httpx2
import pytest

from devstack import sample
from devstack.ports import free_port
from tests.containers.engine import compose

ROOT: Final = Path(__file__).parents[2]
_PASSWORDS: Final = (
    "POSTGRES_PASSWORD",
    "REDIS_PASSWORD",
    "REDIS_FLOWER_PASSWORD",
    "REDIS_SENDER_PASSWORD",
    "FLOWER_PASSWORD",
)
_SLOW_S: Final = 240.0


@dataclass(frozen=True)
class System:
    """What an operator has: Compose with its variables, three addresses, an application's secret."""

    variables: Mapping[str, str]
    http: str
    flower: str
    prometheus: str
    app_secret: str

    def compose(self, *arguments: str) -> str:
        """Run Compose to its end; what it printed, without the progress it reports on standard error."""
        done = self.attempt(*arguments)
        assert done.returncode == 0, f"{arguments}:\n{done.stdout}{done.stderr}"
        return done.stdout

    def pipe(self, arguments: list[str], stdin: BinaryIO | None = None, stdout: BinaryIO | None = None) -> None:
        """Run Compose to its end with a file for its input or its output."""
        subprocess.run(
            self._command(*arguments), env=dict(self.variables), cwd="/", stdin=stdin, stdout=stdout, check=True
        )

    def attempt(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run Compose to its end, whichever."""
        return subprocess.run(
            self._command(*arguments),
            env=dict(self.variables),
            cwd="/",
            capture_output=True,
            text=True,
            timeout=_SLOW_S,
            check=False,
        )

    @staticmethod
    def _command(*arguments: str) -> list[str]:
        return [*compose(), "--file", str(ROOT / "docker-compose.yml"), *arguments]

    @property
    def identity(self) -> dict[str, str]:
        """The header by which the application says who it is."""
        return {
            "X-Bkapi-Authorization": json.dumps(
                {"bk_app_code": "esb_test", "bk_app_secret": self.app_secret, "bk_username": "operator"}
            )
        }

    def post(self, path: str, body: Any, **headers: str) -> httpx2.Response:
        """A call of the application."""
        return httpx2.post(self.http + path, json=body, headers=self.identity | headers, timeout=60)

    def call(self, path: str, body: dict[str, Any]) -> httpx2.Response:
        """The old call: who calls stands in the body."""
        return httpx2.post(self.http + path, json=body | {"bk_app_secret": self.app_secret}, timeout=60)

    def finish(self, request_id: str) -> dict[str, Any]:
        """Poll as the application until the request has ended."""
        while True:
            response = httpx2.get(
                f"{self.http}/v1/batches/{request_id}", headers=self.identity | {"Prefer": "wait=20"}, timeout=60
            )
            assert response.status_code == 200, response.text
            report: dict[str, Any] = response.json()
            if report["status"] not in ("PENDING", "RUNNING"):
                return report

    def up(self, *arguments: str) -> None:
        """`up`, and wait until a request would be worked on."""
        self.compose("up", "--detach", "--no-build", *arguments)
        self.wait_until_ready()

    def wait_until_ready(self) -> None:
        """Return when the server's own probe says so."""
        self._wait_until(["curl", "--silent", "--fail", f"{self.http}/readyz"])

    def wait_until_healthy(self, service: str) -> None:
        """Return when the container's health check says so."""
        container = self.compose("ps", "--quiet", service).strip()
        healthy = "docker inspect --format '{{.State.Health.Status}}' \"$0\" | grep -qx healthy"
        self._wait_until(["sh", "-c", healthy, container])

    def _wait_until(self, probe: list[str]) -> None:
        deadline = time.monotonic() + _SLOW_S
        while subprocess.run(probe, env=dict(self.variables), capture_output=True, check=False).returncode:
            assert time.monotonic() < deadline, self.compose("logs", "--tail", "50")
            time.sleep(0.5)


@pytest.fixture(scope="session")
def variables(request: pytest.FixtureRequest) -> dict[str, str]:
    """The environment for Docker and Compose."""
    given = request.config.getoption("--containers")
    if not given:
        pytest.skip("containers are run by `make test-containers`")
    found: dict[str, str] = json.loads(given)
    return found


@pytest.fixture(scope="session")
def system(variables: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    http, flower, prometheus = (f"127.0.0.1:{free_port()}" for _ in range(3))
    made = subprocess.run(
        ["docker", "run", "--rm", variables["BKSI_IMAGE"], "app-secret", "esb_test"],
        env=variables,
        capture_output=True,
        text=True,
        check=True,
    )
    applications = tmp_path_factory.mktemp("containers") / "apps.toml"
    applications.write_text(made.stdout.replace("bk_biz_ids = []", 'bk_biz_ids = "*"'))
    # By root it would be chown 10001 and chmod 400; who runs the tests need not be root.
    applications.chmod(0o444)
    settings = {name: secrets.token_hex(24) for name in _PASSWORDS} | {
        "BKSI_APPS_FILE": str(applications),
        "BKSI_PUBLISH": http,
        "FLOWER_PUBLISH": flower,
        "PROMETHEUS_PUBLISH": prometheus,
        "COMPOSE_PROJECT_NAME": f"bksi-test-{secrets.token_hex(4)}",
    }
    secret = made.stderr.rpartition(": ")[2].strip()
    system = System(variables | settings, f"http://{http}", f"http://{flower}", f"http://{prometheus}", secret)
    try:
        system.up()
        samples = [str(path) for path in sample.CATALOGUE]
        folder = str(Path(samples[0]).parent)
        system.compose("run", "--rm", "--volume", f"{folder}:{folder}:ro", "catalogue", "import", *samples)
        yield system
    finally:
        system.attempt("down", "--volumes", "--timeout", "5")
