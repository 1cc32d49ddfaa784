"""docs/settings.md and .env.example say what there is."""

import re
from pathlib import Path

import pytest

from contract.settings import Settings
from docs import settings_page

ROOT = Path(__file__).parents[3]
EXAMPLE = (ROOT / ".env.example").read_text()
COMPOSE = (ROOT / "docker-compose.yml").read_text()
OF_COMPOSE = {"COMPOSE_FILE", "COMPOSE_PROFILES"}
"""Which Compose itself reads."""


def test_page_is_that_of_the_settings() -> None:
    assert settings_page.main(["--check"]) == 0, "run: python -m docs.settings_page"


@pytest.mark.parametrize("name", list(Settings.model_fields))
def test_every_setting_says_what_it_is(name: str) -> None:
    [row] = [line for line in settings_page.render().splitlines() if line.startswith(f"| `BKSI_{name.upper()}` |")]
    assert len(row.split(" | ")[-1]) > 10, row


def test_example_has_every_variable_that_compose_insists_on_and_no_other_that_it_does_not_read() -> None:
    named = set(re.findall(r"^#?\s?([A-Z][A-Z_]+)=", EXAMPLE, re.M))
    assert set(re.findall(r"\$\{([A-Z_]+):\?", COMPOSE)) <= named
    read = set(re.findall(r"\$\{([A-Z_]+)", COMPOSE)) | set(re.findall(r"^\s+(BKSI_[A-Z_]+):$", COMPOSE, re.M))
    assert named <= read | OF_COMPOSE


def test_example_holds_no_secret() -> None:
    for name, value in re.findall(r"^([A-Z_]*PASSWORD)=(.*)$", EXAMPLE, re.M):
        assert value == "", name
