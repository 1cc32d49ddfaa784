"""The README's first commands, as a newcomer types them; what is installed already is not installed anew."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
VENV = Path(sys.prefix)
NEWCOMERS = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
"""`make test` tells the makes that it starts what it is."""


def make(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = ["make", f"--old-file={VENV / 'ready'}", f"VENV={VENV}", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False, env=NEWCOMERS)


def test_demo_shows_a_created_and_an_existing_instance_and_what_to_do_next() -> None:
    ran = make("demo")

    assert (ran.returncode, ran.stderr) == (0, "")
    outcomes = re.findall(r"^Host 2: (\w+), service instance (\d+)$", ran.stdout, re.MULTILINE)
    assert outcomes == [("created", outcomes[0][1]), ("existing", outcomes[0][1])]
    stopped = ran.stdout.partition("Stopping ...")[2]
    assert "Next: `make up`" in stopped
    # The one address after the end is that of what comes next: nothing of the demo's is left to look at.
    assert set(re.findall(r"http://\S+\d", stopped)) == {"http://127.0.0.1:8080"}
    assert [name for name in re.findall(r"[\w./]+\.md|[\w]+/(?= )", stopped) if not (ROOT / name).exists()] == []


def test_up_keeps_the_same_system_running() -> None:
    """What `bksi up` then does is in test_stack.py."""
    assert make("--dry-run", "up", "ARGS=--port 9000").stdout == f"{VENV}/bin/bksi up --data-dir data --port 9000\n"


def make_anew(target: str, venv: Path) -> str:
    """What would be run where nothing is installed."""
    command = ["make", "--dry-run", f"VENV={venv}", target]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, env=NEWCOMERS).stdout


def locks(shown: str) -> list[str]:
    return re.findall(r"-r requirements/(\S+)", shown)


def test_first_of_them_says_that_it_installs_and_how_long(tmp_path: Path) -> None:
    assert re.search(r"Installing into .*, once: about half a minute", make_anew("demo", tmp_path / "venv"))


def test_trying_it_installs_nothing_of_the_tests(tmp_path: Path) -> None:
    """What is in up.lock: test_supply_chain.py."""
    for target in ("demo", "up"):
        assert locks(make_anew(target, tmp_path / "venv")) == ["build.lock", "up.lock"]
    assert locks(make_anew("unit", tmp_path / "venv")) == ["build.lock", "up.lock", "dev.lock"]
