"""Each example, as it stands, against a running system."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.calls import finish

EXAMPLES = Path(__file__).parents[2] / "examples"
HOW = {
    "curl.sh": ["sh"],
    "old_call.sh": ["sh"],
    "http_python.py": [sys.executable],
    "celery_send.py": [sys.executable],
    "redis_cli.sh": ["sh"],
    "node.mjs": ["node"],
    "Submit.java": ["java"],
    "go/main.go": ["go", "run"],
}
NEEDS = {"curl.sh": "curl", "old_call.sh": "curl", "redis_cli.sh": "redis-cli"}


@pytest.mark.parametrize(("name", "host"), [(name, 60 + number) for number, name in enumerate(HOW)])
def test_example_creates_an_instance(stack: Any, name: str, host: int) -> None:
    tool = NEEDS.get(name, HOW[name][0])
    if shutil.which(tool) is None:
        pytest.skip(f"no {tool} here")
    environment = os.environ | {"BKSI_URL": stack.http, "BKSI_BROKER": stack.broker}
    ran = subprocess.run(
        [*HOW[name], EXAMPLES / name, str(host)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert ran.returncode == 0, ran.stdout + ran.stderr
    request_id, status, *_ = ran.stdout.split()
    report = finish(stack.http, request_id)
    assert (status, report["status"], report["items"][0]["bk_host_id"]) == ("SUCCESS", "SUCCESS", host)


def test_every_example_is_run_and_shown() -> None:
    here = {str(file.relative_to(EXAMPLES)) for file in EXAMPLES.rglob("*.*") if file.name != "README.md"}
    page = (EXAMPLES / "README.md").read_text()
    assert here == set(HOW)
    assert [name for name in HOW if f"]({name})" not in page] == []
