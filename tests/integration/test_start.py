"""How a process starts: what it loads, and what it says when it cannot."""

import json
import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("module", "needless"),
    [
        (
            "worker.app",
            {
                "alembic",
                "cryptography.hazmat",
                "cyclopts",
                "fastapi",
                "flower",
                "httpx2",
                "jwt",
                "stamina",
                "tornado",
                "worker.delivery.deliverer",
            },
        ),
        ("api_shim.http.server", {"cryptography.hazmat", "cyclopts", "httpx2", "jwt", "sqlalchemy", "uvicorn"}),
        ("devstack.foreground", {"celery", "cyclopts", "fastapi", "granian", "sqlalchemy", "structlog"}),
    ],
)
def test_process_loads_no_library_that_it_does_not_need(module: str, needless: set[str]) -> None:
    code = f"import sys, {module}; print(sorted({needless} & sys.modules.keys()))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown == "[]\n"


def test_worker_of_plain_celery_says_in_its_log_why_it_does_not_start() -> None:
    command = [sys.executable, "-m", "celery", "-A", "worker.app", "worker"]
    environment = os.environ | {"BKSI_REDIS_URL": "redis://redis.invalid/0"}
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (run.returncode, run.stdout) == (1, "")
    *_, event = [json.loads(line)["event"] for line in run.stderr.splitlines()]
    assert event.startswith("bksi worker: redis://redis.invalid/0 needs no password")
