"""Every page: what it links is there, and its Chinese twin is in step with it."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    page
    for room in (ROOT, ROOT / "benchmarks", *(ROOT / name for name in ("clients", "deploy", "docs", "examples")))
    for page in (room.glob("*.md") if room == ROOT else room.rglob("*.md"))
)
CHINESE = [page for page in PAGES if page.name.endswith(".zh-CN.md")]
_FENCED = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)


def _links(page: Path) -> list[tuple[str, str]]:
    """Files and headings that a page names; addresses elsewhere are left alone."""
    return re.findall(r"\]\((?!\w+:)([^)#]*)#?([^)]*)\)", _FENCED.sub("", page.read_text(encoding="utf-8")))


def _headings(page: Path) -> list[str]:
    return re.findall(r"^#+ .*$", _FENCED.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)


def _anchors(page: Path) -> set[str]:
    return {re.sub(r"[^\w\- ]", "", heading.lstrip("# ").lower()).replace(" ", "-") for heading in _headings(page)}


def _dead(page: Path, file: str, heading: str) -> bool:
    target = page.parent / file if file else page
    return not target.exists() or (target.suffix == ".md" and heading != "" and heading not in _anchors(target))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_link_is_dead(page: Path) -> None:
    assert [link for link in _links(page) if _dead(page, *link)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_test_that_is_named_exists(page: Path) -> None:
    named = re.findall(r"\[`(test_\w+)`\]\(([^)#]+\.py)\)", page.read_text(encoding="utf-8"))
    assert [name for name, file in named if f"def {name}(" not in (page.parent / file).read_text()] == []


@pytest.mark.parametrize("chinese", CHINESE, ids=lambda page: str(page.relative_to(ROOT)))
def test_chinese_page_is_in_step(chinese: Path) -> None:
    english = chinese.with_name(chinese.name.replace(".zh-CN", ""))
    levels = [[heading.partition(" ")[0] for heading in _headings(page)] for page in (english, chinese)]
    commands = [[_without_words(block) for block in _blocks(page)] for page in (english, chinese)]

    assert levels[0] == levels[1]
    assert commands[0] == commands[1]
    assert f"]({chinese.name})" in "".join(english.read_text(encoding="utf-8").splitlines()[:4])
    assert f"]({english.name})" in "".join(chinese.read_text(encoding="utf-8").splitlines()[:4])


def _blocks(page: Path) -> list[str]:
    text = page.read_text(encoding="utf-8")
    return _FENCED.findall(text) + re.findall(r"(?:^    .*\n)+", _FENCED.sub("", text), re.MULTILINE)


def _without_words(block: str) -> str:
    """A block without its comments."""
    return re.sub(r" *(#|--) .*", "", block)


def _typed() -> list[str]:
    """Each line that is handed out to be typed."""
    return [_without_words(line) for page in PAGES for block in _blocks(page) for line in block.splitlines()]


def test_command_for_all_that_are_listed_names_all_and_takes_none() -> None:
    piped = [line for line in _typed() if "| xargs" in line]
    assert piped
    assert [line for line in piped if "| xargs -r " not in line or " --limit " not in line] == []


def test_container_that_prints_into_a_file_has_no_terminal_between() -> None:
    """docker-compose 1.29 makes one wherever somebody types: what is said on standard error is in the file then."""
    redirected = [line for line in _typed() if re.search(r"docker compose (run|exec) .* [<>]", line)]
    assert redirected
    assert [line for line in redirected if " -T " not in line] == []
