"""What a worker loads before it is ready: nothing that only some settings, or other commands, need."""

import subprocess
import sys


def test_worker_loads_no_library_that_it_does_not_need() -> None:
    slow = {"alembic", "cyclopts", "fastapi", "flower", "httpx2", "jwt", "worker.delivery.deliverer"}
    code = f"import sys, worker.app; print(sorted({slow} & sys.modules.keys()))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown == "[]\n"
