"""What is installed is what was reviewed: every file by its hash."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOCKS = sorted((ROOT / "requirements").glob("*.lock"))
REQUIREMENT = re.compile(
    r"^(?P<name>[a-z0-9][a-z0-9._-]*)(\[[a-z0-9,_-]+\])?==\S+( ; .+)? \\\n(?P<hashes>(    --hash=.*\n)+)", re.M
)


@pytest.mark.bad_input(119, "a package replaced by another, or a version nobody looked at", "every file pinned by hash")
@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_every_requirement_is_pinned_by_hash_and_names_no_registry(lock: Path) -> None:
    text = lock.read_text()
    names = re.findall(r"^[a-z0-9]\S*(?===)", text, re.M)
    pinned = [match["name"] for match in REQUIREMENT.finditer(text)]
    assert len(pinned) == len(names) > 0
    assert all(line.strip().startswith("--hash=sha256:") for line in text.splitlines() if "--hash" in line)
    assert "://" not in text


@pytest.mark.parametrize("file", ["Makefile", "Dockerfile"])
def test_locks_are_installed_with_their_hashes_only(file: str) -> None:
    installs = [line for line in (ROOT / file).read_text().splitlines() if re.search(r"pip install.*-r ", line)]
    assert installs
    assert all("--require-hashes" in line for line in installs)
