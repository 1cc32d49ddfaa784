"""`bksi` beside a server, a shell and an installation, each as it really is."""

import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from bksi_client.cli import NOTHING_INSTALLED
from devstack.running import BKSI
from tests.conftest import RunBksi


def test_server_of_something_else_is_named(bksi: RunBksi, tmp_path: Path) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as other:
        threading.Thread(target=other.serve_forever).start()
        url = f"http://127.0.0.1:{other.server_port}"
        asked = ("status", "0" * 32, "--url", url, "--patience", "0")
        done = bksi(*asked, env={"XDG_CONFIG_HOME": str(tmp_path)})
        other.shutdown()
    assert (done.returncode, done.stderr.splitlines()[-1]) == (1, f"bksi: {url}: HTTP 501 without an envelope")


def test_help_loads_no_library_that_it_does_not_need() -> None:
    slow = {"asyncio", "httpx2", "markdown_it", "rich.progress", "pydantic", "celery", "redis", "sqlalchemy", "fastapi"}
    slow |= {"cyclopts.completion", "logging", "pygments", "rich.markdown", "rich_rst", "structlog", "subprocess"}
    code = f"import atexit, sys; atexit.register(lambda: print('loaded', {slow} & sys.modules.keys()));"
    code += "sys.argv = ['bksi', '--help']; from bksi_client.cli import main; main()"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "Serve HTTP" in shown
    assert shown.endswith("loaded set()\n")


@pytest.mark.parametrize(("command", "code"), [("app-secret my_app", 0), ("doctor", 1)])
def test_reader_that_has_had_enough_changes_no_exit_code_and_causes_no_complaint(command: str, code: int) -> None:
    """As `| grep -q` does. Nobody is there for `doctor` to find."""
    read, write = os.pipe()
    os.close(read)
    done = printing_into(write, *command.split())
    assert (done.returncode, "BrokenPipe" in done.stderr) == (code, False), done.stderr


def test_disk_that_is_full_is_one_line() -> None:
    done = printing_into(os.open("/dev/full", os.O_WRONLY), "app-secret", "my_app")
    said = done.stderr.splitlines()[-1]
    assert (done.returncode, said) == (1, "bksi: standard output: No space left on device")


def printing_into(output: int, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run `bksi`, whose standard output is `output`, as Python buffers it unless it is told otherwise."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    environment |= {"BKSI_REDIS_URL": "redis://127.0.0.1:1/0", "BKSI_POSTGRES_DSN": "postgresql://u@127.0.0.1:1/db"}
    command = [BKSI, *arguments]
    try:
        return subprocess.run(
            command, stdout=output, stderr=subprocess.PIPE, env=environment, text=True, timeout=60, check=False
        )
    finally:
        os.close(output)


def test_completion_that_is_installed_completes_the_verbs(bksi: RunBksi, tmp_path: Path) -> None:
    home = {"HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path), "SHELL": "/bin/bash"}
    assert bksi("--install-completion", env=home).returncode == 0
    [script] = tmp_path.rglob("completions/bksi")
    asked = f"source {script}; COMP_WORDS=(bksi sub); COMP_CWORD=1; _bksi; echo ${{COMPREPLY[@]}}"
    shown = subprocess.run(["bash", "-c", asked], capture_output=True, text=True, check=True)
    assert shown.stdout == "submit\n", shown.stderr


def test_client_without_its_extra_says_what_to_install() -> None:
    code = (
        "import importlib.util, sys\n"
        "find = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *more: None if name == 'cyclopts' else find(name, *more)\n"
        "from bksi_client.cli import main; main()"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (run.returncode, run.stderr) == (1, NOTHING_INSTALLED + "\n")
