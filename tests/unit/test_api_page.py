"""docs/api.md and its Chinese twin say what the API description says."""

import re

import pytest

from api_shim.http.app import create_app
from contract.settings import Settings
from docs import api_page

PAGES = {language: page.read_text(encoding="utf-8") for language, page in api_page.PAGES.items()}
CHINESE = re.compile(r"[\u4e00-\u9fff]")


def _rows(page: str) -> list[list[str]]:
    return [re.split(r"(?<!\\) \| ", line[2:-2]) for line in page.splitlines() if line.startswith("| ")]


def test_pages_are_those_of_the_models() -> None:
    assert api_page.main(["--check"]) == 0, "run: python -m docs.api_page"


def test_every_call_is_on_them() -> None:
    paths = create_app(Settings()).openapi()["paths"]
    calls = {f"`{method.upper()} {path}`" for path, methods in paths.items() for method in methods}
    named = set(re.findall(r"`(?:GET|POST) /[^`]+`", PAGES["en"]))
    assert named <= calls
    assert {call for call in calls if " /v1/" in call} <= named


def test_both_have_the_same_fields_types_and_examples() -> None:
    english, chinese = (
        [(row[0], *re.findall(r"\[[^]]+\]\([^)]+\)", " ".join(row))) for row in _rows(page)] for page in PAGES.values()
    )
    assert [row[0] for row in english if row[0].startswith(("`", "["))] == [
        row[0] for row in chinese if row[0].startswith(("`", "["))
    ]
    fence = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
    assert fence.findall(PAGES["en"]) == fence.findall(PAGES["zh"])


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_field_says_what_it_is(language: str) -> None:
    for row in _rows(PAGES[language]):
        assert row[-1].strip(" |"), row
        if language == "zh" and row[0].startswith("`"):
            assert CHINESE.search(row[-1]) or "、" in row[-1] or "created" in row[-1], row


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_link_within_leads_somewhere(language: str) -> None:
    headings = {
        line.lstrip("# ").lower().replace(" ", "-") for line in PAGES[language].splitlines() if line.startswith("#")
    }
    assert set(re.findall(r"\]\(#([^)]+)\)", PAGES[language])) <= headings
