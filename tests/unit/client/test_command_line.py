"""`bksi` for callers: what is wrong is one line that names it, and never a traceback."""

import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bksi_client import cli
from bksi_client.cli.output import as_json, printable
from bksi_client.cli.requests import reading

Run = Callable[..., tuple[int, str, str]]
AWAY = ("--url", "http://127.0.0.1:9", "--patience", "0")


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """``run("status", "x")`` → exit code, standard output, standard error."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["bksi", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        said = capsys.readouterr()
        return int(end.value.code or 0), said.out, said.err

    return run


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"[1]", "is no request, which is a JSON object"),
        (b"{}", "has no list of instances"),
        (b'{"instances": 1}', "has no list of instances"),
        (b'{"a":\n x}', "is not JSON: Expecting value (line 2 column 2)"),
        (b"", "is not JSON"),
        (b"\x00\xff\xfe", "is not text in UTF-8"),
        (b"[" * 100_000, "is nested too deeply"),
        (b'{"bk_biz_id": 1}\n{"bk_host_id": 2}\n[]', "line 3: is no instance"),
        (b'{"bk_biz_id": 1}\n{"bk_host_id": 2}\n{', "line 3: is not JSON"),
    ],
)
def test_file_that_is_no_request_is_named_with_what_is_wrong(
    run: Run, tmp_path: Path, content: bytes, said: str
) -> None:
    file = tmp_path / "request.json"
    file.write_bytes(content)
    code, out, err = run("submit", file, *AWAY)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"bksi: {file}: ")
    assert said in err


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("submit", "missing.json", *AWAY), 2, "missing.json: No such file or directory"),
        (("submit", "/", *AWAY), 2, "/: Is a directory"),
        (("status", "0" * 32, "--url", "server:8080"), 2, "--url: the url 'server:8080' must begin with http://"),
        (("status", "0" * 32, "--stack", "nowhere"), 2, "--stack: nowhere/stack.json: No such file"),
        (("status", "0" * 32, "--profile", "nobody"), 2, "--profile: there is none called nobody"),
        (("status", "0" * 32, *AWAY), 4, "http://127.0.0.1:9: ConnectError"),
        (("profile", "add", "a/b", "--url", "http://x"), 2, "a/b: a profile's name"),
        (("profile", "add", "a", "--url", "x"), 2, "--url: the url 'x'"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(run: Run, arguments: tuple[str, ...], code: int, said: str) -> None:
    ended, out, err = run(*arguments)
    assert (ended, out, err.count("\n")) == (code, "", 1)
    assert err.startswith("bksi: ")
    assert said in err


def test_upload_that_stops_half_way_names_its_key(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "hosts.ndjson"
    file.write_text('{"bk_biz_id": 1, "bk_module_id": 60}\n{"bk_host_id": 2}\n')
    code, out, err = run("submit", file, "--job", *AWAY)
    key = re.match(r"With --idempotency-key ([0-9a-f]{32}) the same command goes on where it stopped\.\n", err)
    assert (code, out, bool(key)) == (4, "", True)
    assert "--idempotency-key order-17 " in run("submit", file, "--job", "--idempotency-key", "order-17", *AWAY)[2]


def test_wrong_variable_is_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BKSI_URL", "nothing")
    assert run("status", "0" * 32)[2].startswith("bksi: BKSI_URL: the url 'nothing' must begin")


def test_mistyped_command_and_option_are_guessed(run: Run) -> None:
    code, _, err = run("sumbit", "x.json")
    assert (code, err.splitlines()[1:]) == (2, []), "one line"
    assert err.startswith('bksi: Unknown command "sumbit". Did you mean "submit"?')
    code, _, err = run("list", "--limt", "3")
    assert (code, err) == (2, "bksi: Unknown option: --limt. Did you mean --limit?\n")
    code, _, err = run("submit", "--wiat")
    assert (code, err.splitlines()[1:], "there is no option --wiat" in err) == (2, [], True)


def test_standard_output_that_is_closed_is_nowhere(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", None)
    assert run("--version")[0] == 0
    with sys.stdout as nowhere:
        assert nowhere.name == os.devnull


def test_exit_codes_are_in_the_help(run: Run) -> None:
    code, out, _ = run("submit", "--help")
    assert (code, "3 not ended in time" in " ".join(out.split())) == (0, True)


def test_profile_is_kept_without_a_secret(run: Run, tmp_path: Path) -> None:
    assert run("profile", "add", "here", "--url", "http://127.0.0.1:9", "--app-code", "mine")[0] == 0
    assert run("profile", "list")[1] == "here\thttp://127.0.0.1:9\tmine\n"
    assert "http://127.0.0.1:9 as mine" in run("status", "0" * 32, "--profile", "here", "--patience", "0")[2]
    kept = tmp_path / "config" / "bksi" / "profiles.toml"
    assert (kept.stat().st_mode & 0o777, "secret" in kept.read_text()) == (0o600, False)
    assert run("profile", "remove", "here")[0] == 0
    assert run("profile", "list")[1] == ""


def test_lines_are_read_as_they_are_needed(tmp_path: Path) -> None:
    file = tmp_path / "request.ndjson"
    lines = [json.dumps({"bk_host_id": host}) for host in range(3)]
    file.write_text("\n".join(['{"bk_biz_id": 1, "bk_module_id": 60}', *lines, "", "not JSON"]))
    with reading(str(file)) as batch:
        instances = iter(batch["instances"])
        assert (batch["bk_biz_id"], [next(instances)["bk_host_id"] for _ in range(3)]) == (1, [0, 1, 2])


def test_nothing_that_a_terminal_obeys_is_printed() -> None:
    name = "a\x1b[31m\x9b\u202e\u2028b\n中"
    assert printable(name) == "a\\u001b[31m\\u009b\\u202e\\u2028b\\u000a中"
    assert printable(as_json({"name": name})) == as_json({"name": name})
    assert json.loads(as_json({"name": name})) == {"name": name}
