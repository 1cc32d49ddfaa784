"""`bksi catalogue pull` as a process: killed and started again, and silent about its credentials."""

import asyncio
import json
import os
import signal
import ssl
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from chaos.cmdb.exchange import Call, Reply, refusal
from devstack.running import BKSI
from tests.certificate import self_signed
from tests.conftest import RunBksi
from tests.integration.worker.catalogue.cmdb_server import CmdbServer
from tests.integration.worker.catalogue.conftest import rows
from tests.unit.worker.catalogue.cmdb_items import envelope, service_template

pytestmark = pytest.mark.anyio

SECRET = "canary-91be"
AUTHORIZATION = json.dumps({"bk_app_code": "bksi", "bk_app_secret": SECRET, "bk_username": "admin"})


@pytest.fixture
def env(database: str, tmp_path: Path) -> dict[str, str]:
    """A database of the test's own, pages under the test's directory, credentials in the environment."""
    return {
        "BKSI_POSTGRES_DSN": database,
        "BKSI_STATE_DIR": str(tmp_path / "state"),
        "BKSI_CMDB_AUTHORIZATION": AUTHORIZATION,
    }


def kept(tmp_path: Path) -> list[str]:
    return sorted(file.name for file in (tmp_path / "state").rglob("page-*.json"))


async def test_business_is_pulled_and_its_pages_are_gone_afterwards(
    bksi: RunBksi, cmdb: CmdbServer, env: dict[str, str], database: str, tmp_path: Path
) -> None:
    cmdb.fill(templates=2, modules=3, hosts=600, hosts_per_module=2)
    pulled = bksi("catalogue", "pull", "--url", cmdb.url, "--biz", "1", "--json", env=env)
    assert pulled.returncode == 0, pulled.stderr
    report = json.loads(pulled.stdout)
    assert {kind: counts["added"] for kind, counts in report["counts"].items()} == {
        "service_template": 2,
        "process_template": 2,
        "module": 3,
        "host": 600,
        "module_host_relation": 6,
    }
    assert len((await rows(database, "host"))["host"]) == 600
    assert kept(tmp_path) == []
    assert SECRET not in pulled.stdout + pulled.stderr


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
async def test_killed_pull_goes_on_where_it_was(
    bksi: RunBksi, cmdb: CmdbServer, env: dict[str, str], database: str, tmp_path: Path, *, end: signal.Signals
) -> None:
    cmdb.fill(templates=2, modules=3, hosts=1203, hosts_per_module=2)
    reached, release = threading.Event(), threading.Event()

    def hold(call: Call) -> Reply | None:
        if call.api == "list_biz_hosts" and call.start == 998:
            reached.set()
            release.wait(60)
        return None

    cmdb.before = hold
    killed = await asyncio.create_subprocess_exec(
        *(str(BKSI), "catalogue", "pull", "--url", cmdb.url, "--biz", "1"),
        env=os.environ | env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    assert await asyncio.to_thread(reached.wait, 60)
    killed.send_signal(end)
    _, said = await killed.communicate()
    assert killed.returncode != 0
    assert b"Traceback" not in said
    release.set()
    before = kept(tmp_path)
    assert [name for name in before if name.startswith("page-hosts.")] == [
        "page-hosts.000000.json",
        "page-hosts.000001.json",
    ]
    assert not any((await rows(database)).values())

    finished = [call.place for call in cmdb.calls[:-1]]
    cmdb.calls.clear()
    cmdb.before = lambda call: None
    resumed = bksi("catalogue", "pull", "--url", cmdb.url, "--biz", "1", env=env)
    assert resumed.returncode == 0, resumed.stderr
    assert f"Going on with the {len(before)} pages" in resumed.stderr
    assert not set(finished) & {call.place for call in cmdb.calls}
    assert [call.start for call in cmdb.calls if call.api == "list_biz_hosts"] == [998]
    assert {table: len(found) for table, found in (await rows(database)).items()} == {
        "service_template": 2,
        "process_template": 2,
        "module": 3,
        "host": 1203,
        "module_host_relation": 6,
    }
    assert kept(tmp_path) == []


async def test_pages_that_were_kept_can_be_imported_as_files(
    bksi: RunBksi, cmdb: CmdbServer, env: dict[str, str], database: str, tmp_path: Path
) -> None:
    cmdb.fill(templates=2, modules=3, hosts=600, hosts_per_module=2)
    dry = bksi("catalogue", "pull", "--url", cmdb.url, "--biz", "1", "--dry-run", env=env)
    assert dry.returncode == 0, dry.stderr
    assert not any((await rows(database)).values())
    pages = sorted((tmp_path / "state").rglob("page-*.json"))
    imported = bksi("catalogue", "import", "--prune", *pages, env=env)
    assert imported.returncode == 0, imported.stdout
    assert len((await rows(database, "host"))["host"]) == 600


@pytest.mark.bad_input(121, "an import that removes, without a yes, or more than a fifth", "nothing happens")
async def test_what_an_import_removes_is_said_and_wants_a_yes(
    bksi: RunBksi, env: dict[str, str], database: str, tmp_path: Path
) -> None:
    def imported(count: int, *options: str) -> "subprocess.CompletedProcess[str]":
        file = tmp_path / "list_service_template.json"
        file.write_text(json.dumps(envelope(*map(service_template, range(1, count + 1)))))
        return bksi("catalogue", "import", "--biz", "1", file, *options, env=env)

    assert imported(10, "--prune").returncode == 0
    few = imported(9, "--prune")
    assert (few.returncode, few.stdout) == (1, "")
    assert few.stderr.startswith("Would remove 1 of 10 rows of service_template\n")
    assert "--yes" in few.stderr
    assert len((await rows(database, "service_template"))["service_template"]) == 10
    assert imported(9, "--prune", "--yes").returncode == 0
    many = imported(7, "--prune", "--yes")
    assert (many.returncode, "2 of 9 rows of service_template" in many.stderr) == (1, True)
    assert "--force" in many.stderr
    assert len((await rows(database, "service_template"))["service_template"]) == 9
    assert imported(7, "--prune", "--yes", "--force").returncode == 0
    assert len((await rows(database, "service_template"))["service_template"]) == 7


@pytest.mark.parametrize("answer", [refusal(1306401, f"wrong secret {SECRET}"), Reply(200, f"<html>{SECRET}</html>")])
def test_refusal_is_one_line_without_the_secret(
    bksi: RunBksi, cmdb: CmdbServer, env: dict[str, str], answer: Reply
) -> None:
    cmdb.before = lambda call: answer
    failed = bksi("catalogue", "pull", "--url", cmdb.url, "--biz", "1", env=env)
    assert (failed.returncode, failed.stdout) == (1, "")
    assert failed.stderr.strip().splitlines()[-1].startswith("list_service_template: ")
    assert "Traceback" not in failed.stderr
    assert SECRET not in failed.stderr


async def test_authority_that_has_signed_for_cmdb_is_named_by_a_file(
    bksi: RunBksi, env: dict[str, str], tmp_path: Path
) -> None:
    certificate, key = self_signed(tmp_path)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    with CmdbServer().serving(tls=tls) as cmdb:
        cmdb.fill(templates=1, modules=2, hosts=3, hosts_per_module=1)
        pull = ("catalogue", "pull", "--url", cmdb.url, "--biz", "1")
        failed = bksi(*pull, env=env)
        assert (failed.returncode, failed.stdout, "Traceback" in failed.stderr) == (1, "", False)
        assert "SSL_CERT_FILE" in failed.stderr
        assert cmdb.calls == [], "a server that nobody knows is told no secret"
        assert bksi(*pull, env=env | {"SSL_CERT_FILE": str(certificate)}).returncode == 0


def _file(text: str) -> Callable[[Path], list[str | Path]]:
    def arguments(directory: Path) -> list[str | Path]:
        (directory / "authorization.json").write_text(text)
        return ["--authorization-file", directory / "authorization.json"]

    return arguments


def test_watch_without_an_address_says_how_to_give_one(bksi: RunBksi) -> None:
    done = bksi("catalogue", "watch", "--biz", "1")
    assert (done.returncode, "give --url, or set BKSI_CMDB_URL" in done.stderr) == (1, True), done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (_file(f'"{SECRET}"'), "the credentials are not a JSON object"),
        (_file(f"{{{SECRET}"), "the credentials are not a JSON object"),
        (lambda directory: ["--authorization-file", directory / "gone"], "No such file"),
        (lambda directory: ["--url", f"http://admin:{SECRET}@localhost"], "must hold no credentials"),
        (lambda directory: ["--url", "ftp://localhost"], "must begin with http"),
        (lambda directory: ["--url", "localhost:8080"], "must begin with http"),
        (lambda directory: ["--supplier-account", "一"], "supplier account must be printable ASCII"),
    ],
)
def test_wrong_arguments_are_told_in_one_line(
    bksi: RunBksi,
    env: dict[str, str],
    tmp_path: Path,
    arguments: Callable[[Path], list[str | Path]],
    message: str,
) -> None:
    given = arguments(tmp_path)
    url: list[str | Path] = [] if "--url" in given else ["--url", "http://127.0.0.1:9"]
    failed = bksi("catalogue", "pull", *url, "--biz", "1", *given, env=env)
    assert failed.returncode == 1
    assert message in failed.stderr
    assert failed.stderr.count("\n") == 1
    assert SECRET not in failed.stderr


def test_credentials_come_from_a_file_too(bksi: RunBksi, cmdb: CmdbServer, env: dict[str, str], tmp_path: Path) -> None:
    cmdb.fill(templates=1, modules=2, hosts=2, hosts_per_module=1)
    del env["BKSI_CMDB_AUTHORIZATION"]
    (tmp_path / "authorization.json").write_text(AUTHORIZATION)
    arguments = ["--url", cmdb.url, "--biz", "1", "--authorization-file", tmp_path / "authorization.json"]
    assert bksi("catalogue", "pull", *arguments, env=env).returncode == 0
    assert {call.headers["X-Bkapi-Authorization"] for call in cmdb.calls} == {AUTHORIZATION}


def test_directory_of_another_business_is_left_alone(
    bksi: RunBksi, cmdb: CmdbServer, env: dict[str, str], tmp_path: Path
) -> None:
    state = tmp_path / "pages"
    state.mkdir()
    (state / "pull.json").write_text(json.dumps({"url": cmdb.url, "bk_biz_id": 2}))
    (state / "page-hosts.000000.json").write_text("{}")
    failed = bksi("catalogue", "pull", "--url", cmdb.url, "--biz", "1", "--state-dir", state, env=env)
    assert failed.returncode == 1
    assert "holds pages of" in failed.stderr
    assert (state / "page-hosts.000000.json").exists()
    assert cmdb.calls == []
