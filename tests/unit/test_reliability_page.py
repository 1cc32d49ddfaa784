"""docs/reliability.md names the test that proves each line; none of them may be a name that was."""

import re
from functools import cache
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
TEXT = PAGE.read_text(encoding="utf-8")
LINK = re.compile(r"\[`(?P<name>[^`]+)`\]\((?P<file>[^)]+)\)")


def _rows(heading: str) -> list[str]:
    section = TEXT.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return [line for line in section.splitlines() if line.startswith("|")][2:]


@cache
def _functions(file: Path) -> set[str]:
    return set(re.findall(r"^ *(?:async )?def (\w+)\(", file.read_text(encoding="utf-8"), re.MULTILINE))


def test_every_test_that_is_named_exists() -> None:
    named = [(match["name"], (PAGE.parent / match["file"]).resolve()) for match in LINK.finditer(TEXT)]
    tests = [(name, file) for name, file in named if file.suffix == ".py"]

    assert len(tests) > 40
    assert [name for name, file in tests if not file.exists() or name not in _functions(file)] == []


def test_every_promise_and_every_fault_names_one() -> None:
    promises, faults = _rows("Promises"), _rows("Faults, and what comes of them")

    assert [row.split("|")[1].strip() for row in promises] == list("12345678")
    assert len(faults) > 15
    assert [row for row in promises + faults if not LINK.search(row)] == []


def test_every_page_that_is_linked_exists() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", TEXT)

    assert [link for link in links if "://" not in link and not (PAGE.parent / link).exists()] == []
