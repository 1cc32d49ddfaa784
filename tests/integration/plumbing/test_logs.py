"""What Python says past all logging is a line of a process's log, which goes to standard error and nowhere else."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

UNCAUGHT = """
import sys
import threading
from plumbing.logs import configure_logging

class Broken:
    def __del__(self):
        raise ValueError("of an object")

def fail():
    raise ValueError("of a thread")

configure_logging("INFO", "json")
Broken()
for work in (fail, sys.exit):
    thread = threading.Thread(target=work, name="one")
    thread.start()
    thread.join()
raise ValueError("of all")
"""

CLOSED = """
import contextlib
import os
import sys
import structlog
from plumbing.logs import configure_logging, give_up

configure_logging("INFO", sys.argv[1])
assert os.open(sys.argv[2], os.O_CREAT | os.O_WRONLY) == 2
structlog.get_logger("one").warning("said")
with contextlib.suppress(SystemExit):
    give_up("said")
"""


def test_what_nobody_catches_is_a_line_of_json() -> None:
    run = subprocess.run([sys.executable, "-c", UNCAUGHT], capture_output=True, text=True, check=False)
    lines = [json.loads(line) for line in run.stderr.splitlines()]
    said = [f"ValueError: {where}" for where in ("of an object", "of a thread", "of all")]
    assert [line["exception"].splitlines()[-1] for line in lines] == said
    assert [line["where"] for line in lines[1:]] == ["thread one", "main"]
    assert (run.returncode, run.stdout) == (1, "")


@pytest.mark.parametrize("form", ["json", "console"])
def test_log_of_a_process_without_standard_error_goes_nowhere(form: str, tmp_path: Path) -> None:
    command = ["sh", "-c", 'exec "$@" 2>&-', "sh", sys.executable, "-c", CLOSED, form, str(tmp_path / "another")]
    assert subprocess.run(command, check=False).returncode == 0
    assert (tmp_path / "another").read_text() == ""
