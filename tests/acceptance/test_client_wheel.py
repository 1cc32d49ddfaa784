"""The client as it is installed: its wheel, what it says it needs, and nothing else of ours."""

import json
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import httpx2
import pytest
from packaging.requirements import Requirement

from tests.acceptance.calls import bound

CLIENT = Path(__file__).parents[2] / "clients" / "python"


def needed(name: str, extras: frozenset[str] = frozenset(), seen: frozenset[str] = frozenset()) -> Iterator[str]:
    """The names of the distributions that `name` needs, and those that they need."""
    for text in distribution(name).requires or ():
        requirement = Requirement(text)
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            if requirement.name in seen:
                continue
            yield requirement.name
            yield from needed(requirement.name, frozenset(requirement.extras), seen | {requirement.name})


def run(*command: str | Path, **options: Any) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, **options)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "wheel", "--no-deps", "--no-index"]
    built = run(*pip, "--no-build-isolation", "--wheel-dir", directory, CLIENT)
    assert built.returncode == 0, built.stderr
    [wheel] = directory.glob("bksi_client-*.whl")
    return wheel


def environment(wheel: Path, directory: Path, *extras: str) -> Path:
    """A virtual environment of the wheel and what it needs, which is taken from the one of the tests."""
    made = run(sys.executable, "-m", "venv", "--without-pip", directory)
    assert made.returncode == 0, made.stderr
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--python", directory / "bin/python"]
    installed = run(*pip, "install", "--no-deps", "--no-index", wheel)
    assert installed.returncode == 0, installed.stderr
    [site] = directory.glob("lib/python*/site-packages")
    for name in set(needed("bksi-client", frozenset(extras))):
        files = distribution(name).files or ()
        for top in {file.parts[0] for file in files if file.parts[0] not in ("..", "__pycache__")}:
            if not (site / top).exists():
                (site / top).symlink_to(Path(str(distribution(name).locate_file(top))))
    return directory / "bin"


PROGRAM = """
import sys
import contract, worker
from bksi_client import Client

assert (contract.MINE, worker.MINE) == (True, True)
with Client(sys.argv[1]) as client:
    report = client.submit({"bk_biz_id": 1, "bk_module_id": 60, "instances": [{"bk_host_id": 45}]}).result(timeout=60)
servers = {"celery", "kombu", "redis", "sqlalchemy", "fastapi", "asyncpg", "structlog", "cyclopts", "rich"}
print(len(report["data"]), sorted(servers & sys.modules.keys()))
"""


def test_project_may_call_its_packages_contract_and_worker(stack: Any, wheel: Path, tmp_path: Path) -> None:
    bin_ = environment(wheel, tmp_path / "venv")
    project = tmp_path / "project"
    for name in ("contract", "worker"):
        (project / name).mkdir(parents=True)
        (project / name / "__init__.py").write_text("MINE = True\n")
    (project / "program.py").write_text(PROGRAM)

    ran = run(bin_ / "python", "program.py", stack.http, cwd=project)
    assert (ran.stdout, ran.returncode) == ("1 []\n", 0), ran.stderr

    command = run(bin_ / "bksi", "--help")
    assert (command.returncode, command.stderr.splitlines()[0]) == (
        1,
        "bksi: only the client library is installed, and it has no command.",
    )


def test_newcomer_installs_submits_watches_and_opens_the_result(stack: Any, wheel: Path, tmp_path: Path) -> None:
    bin_ = environment(wheel, tmp_path / "venv", "cli")
    commands = run(bin_ / "bksi", "--help").stdout
    assert " submit " in commands
    assert " migrate " not in commands

    def bksi(*arguments: str, **options: Any) -> str:
        # A browser that prints the address that it is given.
        here = {"BKSI_URL": stack.http, "BROWSER": "echo %s", "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
        ran = run(bin_ / "bksi", *arguments, env=here, **options)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    request_id = bksi("submit", "-", "--output", "ids", input=json.dumps(bound(45))).strip()
    assert bksi("watch", request_id).startswith(f"{request_id}  SUCCESS  1 of 1")
    assert "\t45\t" in bksi("items", request_id)
    page = bksi("open", request_id).splitlines()[-1]
    assert page == f"{stack.http}/v1/batches/{request_id}"
    opened = httpx2.get(page, headers={"Accept": "text/html"})
    assert (opened.status_code, request_id in opened.text) == (200, True)
