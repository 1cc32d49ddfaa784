"""What the pages for callers and the client's docstring show is run as it stands, against a running system."""

import inspect
import re
import shutil
import subprocess
import textwrap
from pathlib import Path
from typing import Any

import pytest

import bksi_client
from tests.acceptance.calls import bound, compat

ROOT = Path(__file__).parents[2]
PAGES = ("README.md", "clients/python/README.md", "docs/migrating.md")
URL = "http://127.0.0.1:8080"


def _snippets(language: str) -> list[Any]:
    return [
        pytest.param(code, id=f"{page} {number}")
        for page in PAGES
        for number, code in enumerate(
            re.findall(rf"^```{language}\n(.*?)^```", (ROOT / page).read_text(), re.DOTALL | re.MULTILINE)
        )
        if URL in code
    ]


def _docstring() -> Any:
    [shown] = re.findall(r"^    from .*?\n\n(?=\S)", inspect.getdoc(bksi_client) or "", re.DOTALL | re.MULTILINE)
    return pytest.param(textwrap.dedent(shown), id="docstring")


@pytest.mark.parametrize("snippet", [*_snippets("python"), _docstring()])
def test_python_runs(stack: Any, snippet: str) -> None:
    exec(compile(snippet.replace(URL, stack.http), "snippet", "exec"), {"__name__": "snippet"})


@pytest.mark.parametrize("snippet", _snippets("sh"))
def test_curl_is_accepted(stack: Any, snippet: str) -> None:
    known = compat(stack.http, bound(2))["request_id"]
    ran = _run(["sh", "-c", snippet.replace(URL, stack.http).replace("REQUEST_ID", known)])
    assert re.search(r'"code": ?(0|1190001),', ran.stdout), ran


@pytest.mark.parametrize("snippet", _snippets("go"))
def test_go_is_compiled_and_creates(stack: Any, snippet: str, tmp_path: Path) -> None:
    if shutil.which("go") is None:
        pytest.skip("no go here")
    program = tmp_path / "main.go"
    program.write_text(snippet.replace(URL, stack.http))
    ran = _run(["go", "run", program])
    assert ran.stdout.startswith("200 OK"), ran
    assert '"status":"SUCCESS"' in ran.stdout


def _run(command: list[Any]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
