"""What SECURITY.md promises about settings, users and commands exists."""

import re
from pathlib import Path

import yaml

from contract.redis.replay import DEFAULT_USER
from contract.settings import Settings

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "SECURITY.md").read_text()


def test_every_setting_it_names_exists() -> None:
    named = {name.lower() for name in re.findall(r"BKSI_([A-Z_]+)", PAGE)}
    assert named
    assert named <= set(Settings.model_fields)


def test_every_file_it_links_exists() -> None:
    assert all((ROOT / link).exists() for link in re.findall(r"\]\(([^)#:]+)\)", PAGE))


def test_users_of_redis_are_those_of_the_containers() -> None:
    [command] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["redis"]["command"][2:]
    users = set(re.findall(r"--user (\w+) ", command))
    assert f"--{DEFAULT_USER}" in PAGE
    assert users == set(re.findall(r"^   \| `(\w+)`", PAGE, re.M))
