"""What is installed is what was reviewed: every file by its hash."""

import re
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

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
    text = (ROOT / file).read_text()
    [install] = re.findall(r"^INSTALL := (.*)$", text, re.M) or [""]
    installs = re.findall(r"pip install.*-r .*", text.replace("$(INSTALL)", install))
    assert len(installs) == text.count(" -r ")
    assert all("--require-hashes" in line for line in installs)


def pinned_here(lock: str) -> dict[str, str]:
    """What a lock pins for this interpreter and platform: name → version."""
    lines = re.findall(r"^[a-z0-9].*(?= \\$)", (ROOT / "requirements" / lock).read_text(), re.M)
    found = [Requirement(line) for line in lines]
    return {each.name: str(each.specifier) for each in found if each.marker is None or each.marker.evaluate()}


def required(name: str, extras: frozenset[str], seen: set[tuple[str, str]]) -> set[str]:
    """A distribution with extras, and everything that it and they require here, as the installed ones say."""
    for extra in extras | {""}:
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        for line in metadata.requires(name) or ():
            each = Requirement(line)
            if each.marker is None or each.marker.evaluate({"extra": extra}):
                required(canonicalize_name(each.name), frozenset(each.extras), seen)
    return {name for name, _ in seen}


def test_demo_installs_all_that_it_runs_and_nothing_of_the_tests() -> None:
    ours = {"bksi", "bksi-client"}
    assert pinned_here("up.lock").keys() == required("bksi", frozenset({"devstack"}), set()) - ours


@pytest.mark.parametrize("lock", ["up.lock", "run.lock", "build.lock", "bench.lock"])
def test_what_two_locks_name_is_one_version(lock: str) -> None:
    dev, other = pinned_here("dev.lock"), pinned_here(lock)
    assert [name for name in sorted(dev.keys() & other.keys()) if dev[name] != other[name]] == []
