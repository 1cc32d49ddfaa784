"""Prometheus from the system's own package, on a free port of loopback, as a plain child process."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx2

from devstack.process import Guard, Process
from devstack.server import PLAIN_ENVIRONMENT, Server


class Prometheus(Server):
    """One server, which `program` runs; the `configuration` is as its own file has it."""

    name = "prometheus"

    def __init__(self, directory: Path, guard: Guard, *, program: Path, configuration: Mapping[str, Any]) -> None:
        super().__init__(directory, guard)
        self._program = program
        self._configuration = configuration
        self._tried_port = 0

    @property
    def url(self) -> str:
        """Of its API."""
        return f"http://127.0.0.1:{self.port}"

    def query(self, expression: str) -> list[dict[str, Any]]:
        """What an expression of PromQL is now.

        Raises:
            httpx2.HTTPStatusError: it is none.
        """
        return self._ask("query", "result", query=expression)

    def query_range(self, expression: str, start: float, end: float, step: float) -> list[dict[str, Any]]:
        """What it was, from `start` to `end` (seconds since 1970)."""
        return self._ask("query_range", "result", query=expression, start=start, end=end, step=step)

    def rules(self) -> list[dict[str, Any]]:
        """The groups of its rules."""
        return self._ask("rules", "groups")

    def _ask(self, what: str, field: str, **parameters: Any) -> list[dict[str, Any]]:
        answer = httpx2.get(f"{self.url}/api/v1/{what}?{urlencode(parameters)}", timeout=10).raise_for_status()
        found: list[dict[str, Any]] = answer.json()["data"][field]
        return found

    def _spawn(self, port: int) -> Process:
        self._tried_port = port
        configuration = self.directory / "prometheus.yml"
        # JSON is YAML.
        configuration.write_text(json.dumps(self._configuration))
        command: list[str | Path] = [
            self._program,
            f"--config.file={configuration}",
            f"--storage.tsdb.path={self.data}",
            f"--web.listen-address=127.0.0.1:{port}",
        ]
        return Process(self.name, command, log=self.log, guard=self._guard, env=PLAIN_ENVIRONMENT)

    def _accepts(self) -> bool:
        try:
            return httpx2.get(f"http://127.0.0.1:{self._tried_port}/-/ready", timeout=5).is_success
        except httpx2.HTTPError:
            return False
