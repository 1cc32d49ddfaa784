"""The README and its Chinese twin say the same, and what they point at is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = {name: (ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "README.zh-CN.md")}


def headings(page: str) -> list[str]:
    return [line.partition(" · ")[0] for line in _without_code(page).splitlines() if line.startswith("#")]


def code(page: str) -> list[str]:
    return re.findall(r"^```.*?^```", page, re.DOTALL | re.MULTILINE)


def _names(page: str) -> list[str]:
    return re.findall(r"`([^`]+)`", _without_code(page))


def _without_code(page: str) -> str:
    return re.sub(r"^```.*?^```", "", page, flags=re.DOTALL | re.MULTILINE)


def test_both_have_the_same_headings_and_the_same_commands() -> None:
    english, chinese = PAGES.values()

    assert headings(english) == headings(chinese)
    assert code(english) == code(chinese)
    assert set(_names(english)) == set(_names(chinese))


def test_what_a_newcomer_does_comes_in_this_order() -> None:
    order = [line for line in headings(PAGES["README.md"]) if line.startswith("## ")]

    assert order[:5] == ["## Three commands", "## Submit", "## Poll", "## Watch", "## Reliability"]


def test_each_links_the_other_in_its_first_lines_and_no_line_is_long() -> None:
    for page, twin in zip(PAGES.values(), reversed(PAGES), strict=True):
        assert f"]({twin})" in "".join(page.splitlines()[:4])
        assert [line for line in page.splitlines() if len(line) > 150] == []


@pytest.mark.parametrize("name", PAGES)
def test_every_linked_file_exists(name: str) -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", PAGES[name])

    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
