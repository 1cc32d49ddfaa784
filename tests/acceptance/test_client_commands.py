"""`bksi` for callers, against a running system."""

import contextlib
import json
import os
import pty
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from devstack.running import BKSI
from tests.acceptance.calls import bound
from tests.conftest import RunBksi


@pytest.fixture
def here(stack: Any) -> dict[str, str]:
    return {"BKSI_URL": stack.http}


def hosts(*numbers: int) -> str:
    """A request as lines of JSON."""
    return "\n".join(json.dumps(line) for line in ({"bk_biz_id": 1, "bk_module_id": 60}, *map(_instance, numbers)))


def _instance(host: int) -> dict[str, int]:
    return {"bk_host_id": host}


def piped(text: str, *arguments: str, env: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [BKSI, *arguments], input=text, env=os.environ | env, capture_output=True, text=True, timeout=100, check=False
    )


def test_request_is_submitted_followed_listed_and_looked_into(bksi: RunBksi, stack: Any, here: dict[str, str]) -> None:
    done = piped(hosts(180, 181), "submit", "-", "--wait", "60", "--idempotency-key", "by-command", env=here)
    assert done.returncode == 0, done.stderr
    accepted, said = done.stdout.splitlines()
    request_id = accepted.removeprefix("accepted ")
    assert said.startswith("1 SUCCESS: ")

    asked = bksi("status", request_id, "--json", "--stack", stack.directory)
    assert json.loads(asked.stdout)["request_id"] == request_id
    assert bksi("watch", request_id, env=here).stdout.startswith(f"{request_id}  SUCCESS  2 of 2  ids ")
    _, found = bksi("list", "--idempotency-key", "by-command", env=here).stdout.splitlines()
    assert found.split("\t")[:7] == [request_id, "SUCCESS", "2", "2", "0", "1", "60"]
    listed = bksi("list", "--status", "SUCCESS", "--limit", "500", "--json", env=here).stdout.splitlines()
    assert request_id in [json.loads(line)["request_id"] for line in listed]
    head, *items = bksi("items", request_id, env=here).stdout.splitlines()
    assert head.split("\t")[:3] == ["index", "bk_host_id", "outcome"]
    assert [item.split("\t")[1] for item in items] == ["180", "181"]
    ids = bksi("status", request_id, "--output", "ids", env=here).stdout.split()
    assert len(ids) == 2


def test_job_is_submitted_followed_and_looked_into(bksi: RunBksi, here: dict[str, str]) -> None:
    done = piped(hosts(*range(50, 200)), "submit", "-", "--job", "--wait", "60", env=here)
    assert done.returncode == 0, done.stderr
    accepted, said = done.stdout.splitlines()
    job_id = accepted.removeprefix("accepted job ")
    assert said.startswith(f"{job_id}  SUCCESS  150 of 150")

    assert json.loads(bksi("jobs", "status", job_id, "--json", env=here).stdout)["job_id"] == job_id
    assert bksi("jobs", "watch", job_id, env=here).returncode == 0
    assert job_id in bksi("jobs", "list", "--output", "ids", env=here).stdout.split()
    assert len(bksi("jobs", "items", job_id, env=here).stdout.splitlines()) == 151
    assert len(bksi("jobs", "batches", job_id, env=here).stdout.splitlines()) == 3
    assert bksi("jobs", "cancel", job_id, env=here).returncode == 1


def test_terminal_sees_a_bar_with_counts_that_is_gone_at_the_end(here: dict[str, str], tmp_path: Path) -> None:
    lines = tmp_path / "hosts.ndjson"
    lines.write_text(hosts(*range(50, 200)))
    terminal, side = pty.openpty()
    command = [BKSI, "submit", lines, "--job", "--wait", "60"]
    environment = os.environ | here | {"TERM": "xterm-256color", "COLUMNS": "160"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=side, text=True, env=environment) as child:
        os.close(side)
        shown = _all_of(terminal)
        assert child.stdout is not None
        said = child.stdout.read()

    assert child.returncode == 0, said + shown
    assert "SUCCESS  150 of 150" in said
    assert re.search(r"━ 150/150 instances  \w{32}  SUCCESS", re.sub(r"\x1b\[[\d;]*m", "", shown)), shown
    assert shown.endswith("\x1b[2K"), "the line is not cleared"


def _all_of(terminal: int) -> str:
    """What was written to a terminal until nobody can write to it any more."""
    found = b""
    with open(terminal, "rb", buffering=0) as screen, contextlib.suppress(OSError):
        while chunk := screen.read(65536):
            found += chunk
    return found.decode()


def test_failure_is_a_line_and_an_exit_code_and_can_be_tried_again(bksi: RunBksi, here: dict[str, str]) -> None:
    failed = piped(json.dumps(bound(2, module=999)), "submit", "-", "--wait", "60", "--json", env=here)
    report = json.loads(failed.stdout)
    assert (failed.returncode, report["code"]) == (1, 1101034)
    assert failed.stderr.splitlines()[-1] == f"bksi: {report['request_id']}: 1101034: No such module (bk_module_id)"
    again = bksi("retry", report["request_id"], "--output", "ids", env=here)
    assert (again.returncode, again.stdout.strip() != report["request_id"]) == (0, True)
    assert bksi("cancel", report["request_id"], env=here).returncode == 1

    refused = piped(json.dumps(bound(0)), "submit", "-", env=here)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.startswith("bksi: 1199006: instances[0].bk_host_id is not valid")
    unknown = bksi("status", "0" * 32, env=here)
    assert (unknown.returncode, unknown.stderr) == (1, "bksi: 1190002: No such request\n")


def test_dry_run_says_what_would_be(here: dict[str, str]) -> None:
    seen = piped(hosts(182, 183), "validate", "-", env=here)
    assert seen.returncode == 0, seen.stderr
    assert len(seen.stdout.splitlines()) == 4


@pytest.mark.parametrize("command", ["status", "doctor", "--help"])
def test_terminal_that_knows_ascii_alone_gets_escapes(stack: Any, here: dict[str, str], command: str) -> None:
    arguments = ("status", "0" * 32) if command == "status" else (command,)
    more = {"PYTHONIOENCODING": "ascii", "BKSI_LANGUAGE": "zh", "BKSI_REDIS_URL": stack.redis}
    # Python looks at that variable when it starts, so this is a process from its beginning.
    environment = os.environ | here | more
    said = subprocess.run([BKSI, *arguments], env=environment, capture_output=True, text=True, check=False)
    assert "Traceback" not in said.stderr
    assert (said.stdout + said.stderr).isascii()
    if command == "status":
        assert said.stderr == "bksi: 1190002: \\u8bf7\\u6c42\\u4e0d\\u5b58\\u5728\n"


def test_migration_without_a_database_and_a_wrong_setting_are_one_line(bksi: RunBksi, tmp_path: Path) -> None:
    nowhere = "postgresql://postgres@127.0.0.1:9/postgres"
    for arguments, env, name in (
        (("migrate",), {"BKSI_POSTGRES_DSN": nowhere}, "BKSI_POSTGRES_DSN"),
        (("migrate",), {"BKSI_POSTGRES_DSN": "nothing"}, "BKSI_POSTGRES_DSN"),
        (("serve",), {"BKSI_MAX_PENDING": "abc"}, "BKSI_MAX_PENDING"),
        (("worker",), {"BKSI_MAX_PENDING": "abc"}, "BKSI_MAX_PENDING"),
    ):
        said = bksi(*arguments, env=env)
        assert (said.returncode != 0, said.stderr.count("\n"), name in said.stderr) == (True, 1, True), said.stderr
