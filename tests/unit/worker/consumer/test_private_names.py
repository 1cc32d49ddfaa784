"""docs/private-names.md: each name is there in the versions that are installed, and each test that holds it exists."""

import pkgutil
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[4] / "docs"
PAGE = (DOCS / "private-names.md").read_text()
NAMES = re.findall(r"`((?:kombu|celery)(?:\.\w+)+)`", PAGE)


def test_page_lists_names() -> None:
    assert len(NAMES) > 20


@pytest.mark.parametrize("name", NAMES)
def test_name_is_there(name: str) -> None:
    assert pkgutil.resolve_name(name)


def test_each_test_that_is_named_exists() -> None:
    links = re.findall(r"\]\((\.\./tests/[^)]+)\)", PAGE)
    assert [link for link in links if not (DOCS / link).exists()] == []
