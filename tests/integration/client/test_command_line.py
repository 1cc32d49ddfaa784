"""`bksi` beside a server, a shell and an installation, each as it really is."""

import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from bksi_client.cli import NOTHING_INSTALLED
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
    slow |= {"cyclopts.completion", "logging", "subprocess"}
    code = f"import atexit, sys; atexit.register(lambda: print('loaded', {slow} & sys.modules.keys()));"
    code += "sys.argv = ['bksi', '--help']; from bksi_client.cli import main; main()"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "Serve HTTP" in shown
    assert shown.endswith("loaded set()\n")


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
