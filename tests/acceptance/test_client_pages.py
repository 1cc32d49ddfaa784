"""What the client's pages and docstrings show is run as it stands, against a running system."""

import inspect
import re
import textwrap
from pathlib import Path
from typing import Any

import pytest

import bksi_client

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "clients" / "python" / "README.md"]


def _snippets() -> dict[str, str]:
    found = {
        f"{page.relative_to(ROOT)} {number}": code
        for page in PAGES
        for number, code in enumerate(re.findall(r"^```python\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE))
        if "bksi_client" in code
    }
    [shown] = re.findall(r"^    from .*?\n\n(?=\S)", inspect.getdoc(bksi_client) or "", re.DOTALL | re.MULTILINE)
    return found | {"docstring": textwrap.dedent(shown)}


@pytest.mark.parametrize("snippet", _snippets().values(), ids=_snippets())
def test_snippet_runs(stack: Any, snippet: str) -> None:
    assert "http://127.0.0.1:8080" in snippet
    exec(compile(snippet.replace("http://127.0.0.1:8080", stack.http), "snippet", "exec"), {"__name__": "snippet"})
