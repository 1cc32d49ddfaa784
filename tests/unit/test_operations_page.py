"""The guide says the same in both languages: as many headings, rows and steps, the same commands, links and names."""

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
ENGLISH, CHINESE = ((DOCS / name).read_text(encoding="utf-8") for name in ("operations.md", "operations.zh-CN.md"))


def commands(page: str) -> list[str]:
    """Without what is said beside them."""
    blocks = re.findall(r"^```sh\n(.*?)^```", page, re.M | re.S)
    return [re.sub(r"\s+# .*", "", line) for block in blocks for line in block.splitlines()]


def shape(page: str) -> list[str]:
    """Of each line that begins a part: what kind, and how many cells."""
    lines = [line for line in page.splitlines() if line.startswith(("#", "|", "- ", "1.", "2.", "3.", "!["))]
    return [f"{re.match(r'#+|[|]|- |[0-9]|!', line)[0]}{line.count('|')}" for line in lines]  # type: ignore[index]


def names(page: str) -> set[str]:
    """What is in code's letters, and links."""
    text = re.sub(r"^```sh\n.*?^```", "", page, flags=re.M | re.S)
    return {*re.findall(r"`([^`\n]+)`", text), *re.findall(r"\]\(([^)]+)\)", text)}


def test_commands_are_the_same() -> None:
    assert commands(ENGLISH) == commands(CHINESE) != []


def test_parts_are_the_same() -> None:
    assert shape(ENGLISH) == shape(CHINESE)


def test_what_is_named_is_the_same() -> None:
    assert names(ENGLISH) - names(CHINESE) == {"operations.zh-CN.md"}
    assert names(CHINESE) - names(ENGLISH) == {"operations.md"}


@pytest.mark.parametrize("alert", re.findall(r"^\| (Bksi\w+) \|", ENGLISH, re.M))
def test_each_alert_is_in_both(alert: str) -> None:
    assert f"\n| {alert} | " in CHINESE
