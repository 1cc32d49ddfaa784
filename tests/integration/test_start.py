"""What a process loads before it is ready: nothing that only some settings, or other commands, need."""

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
                "worker.delivery.deliverer",
            },
        ),
        ("api_shim.http.server", {"cryptography.hazmat", "cyclopts", "httpx2", "jwt", "sqlalchemy", "uvicorn"}),
    ],
)
def test_process_loads_no_library_that_it_does_not_need(module: str, needless: set[str]) -> None:
    code = f"import sys, {module}; print(sorted({needless} & sys.modules.keys()))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown == "[]\n"
