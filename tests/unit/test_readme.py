"""The README and its Chinese twin say the same, in a newcomer's order, with the benchmarks' number."""

import re
from pathlib import Path

from benchmarks import headline

ROOT = Path(__file__).parents[2]
PAGES = {name: (ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "README.zh-CN.md")}
RESULT = re.compile(r"\((benchmarks/results/.*?\.json)\)")


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

    assert order == [f"## {title}" for title in ("Try it", "Call it", "Run it", "What it promises", "Where to read on")]


def test_numbers_and_picture_are_of_the_result_that_is_linked() -> None:
    [result] = {ROOT / linked for page in PAGES.values() for linked in RESULT.findall(page)}

    for name, text in headline.texts(result).items():
        page = (ROOT / name).read_text(encoding="utf-8")
        assert headline.between(page, text) == page
    assert headline.PICTURE.read_text() == headline.picture(result)


def test_no_line_is_long() -> None:
    for page in PAGES.values():
        assert [line for line in page.splitlines() if len(line) > 150] == []
