"""Pulling a business from a CMDB over real HTTP: whole, patient, and going on where it was stopped."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import stamina
from rich.progress import Progress
from sqlalchemy.ext.asyncio import AsyncEngine
from stamina.instrumentation import RetryDetails, set_on_retry_hooks

from chaos.cmdb.exchange import Call, Reply, refusal
from tests.integration.worker.catalogue.cmdb_server import CmdbServer
from tests.integration.worker.catalogue.conftest import rows
from tests.unit.worker.catalogue.cmdb_items import host, module
from worker.catalogue.answers import Answer, Kind
from worker.catalogue.cmdb import Cmdb, CmdbRefused, CmdbUnavailable
from worker.catalogue.load import import_answers
from worker.catalogue.pages import Pages
from worker.catalogue.pull import READINGS, pull

pytestmark = pytest.mark.anyio

SECRET = "canary-7f3a"
AUTHORIZATION = json.dumps({"bk_app_code": "bksi", "bk_app_secret": SECRET, "bk_username": "admin"})


@pytest.fixture
def waits() -> Iterator[list[float]]:
    """The pauses that were made before trying again, in seconds."""
    pauses: list[float] = []

    def remember(details: RetryDetails) -> None:
        pauses.append(details.wait_for)

    set_on_retry_hooks([remember])
    yield pauses
    set_on_retry_hooks(None)


@pytest.fixture
def no_waits(waits: list[float]) -> Iterator[list[float]]:
    """Try again at once, at most three times."""
    with stamina.set_testing(True, attempts=3):
        yield waits


def read(cmdb: CmdbServer, state: Path, url: str = "") -> list[Answer]:
    with Cmdb(url or cmdb.url, AUTHORIZATION) as client:
        return pull(client, 1, Pages(state, {"url": cmdb.url, "bk_biz_id": 1}), Progress(disable=True))


def once(reply: Reply, when: Callable[[Call], bool]) -> Callable[[Call], Reply | None]:
    """Send `reply` to the first call that fits, and answer from then on."""
    left = [reply]
    return lambda call: left.pop() if left and when(call) else None


def total(answers: list[Answer], kind: Kind) -> int:
    return sum(len(answer.items) for answer in answers if answer.kind is kind)


async def test_whole_business_is_read_in_pages_and_stored(
    cmdb: CmdbServer, engine: AsyncEngine, database: str, tmp_path: Path
) -> None:
    cmdb.fill(templates=7, modules=501, hosts=1203, hosts_per_module=5)
    answers = read(cmdb, tmp_path / "state")
    report = await import_answers(engine, answers, bk_biz_id=1, prune=True)

    assert (report.refused, report.changes.notes) == ((), [])
    stored = await rows(database)
    assert {table: len(found) for table, found in stored.items()} == {
        "service_template": 7,
        "process_template": 7,
        "module": 501,
        "host": 1203,
        "module_host_relation": sum(map(len, cmdb.hosts_of.values())),
    }
    expected = sorted((module_id, host_id) for module_id, ids in cmdb.hosts_of.items() for host_id in ids)
    assert [row[:2] for row in stored["module_host_relation"]] == expected
    assert [row[1] for row in stored["host"]] == [item["bk_host_innerip"] for item in cmdb.hosts]
    # From the second page on the last row of the page before is asked for again.
    assert [call.start for call in cmdb.calls if call.api == "list_biz_hosts"] == [0, 499, 998]
    assert [call.start for call in cmdb.calls if call.api == "find_module_with_relation"] == [0, 499]
    assert sum(call.api == "find_module_host_relation" for call in cmdb.calls) == 3
    assert sum(call.api == "list_proc_template" for call in cmdb.calls) == 7


def test_progress_reaches_the_end_of_every_listing(cmdb: CmdbServer, tmp_path: Path) -> None:
    cmdb.fill(templates=2, modules=3, hosts=600, hosts_per_module=2)
    progress = Progress(disable=True)
    with Cmdb(cmdb.url, AUTHORIZATION) as client:
        pull(client, 1, Pages(tmp_path / "state", {}), progress)
    assert {task.description: (task.completed, task.total) for task in progress.tasks} == {
        "service templates": (2, 2),
        "process templates": (2, 2),
        "modules": (3, 3),
        "hosts": (600, 600),
        "relations 0": (6, 6),
    }


async def test_second_pull_changes_nothing_and_a_third_removes_what_is_gone(
    cmdb: CmdbServer, engine: AsyncEngine, tmp_path: Path
) -> None:
    cmdb.fill(templates=3, modules=5, hosts=10, hosts_per_module=3)
    await import_answers(engine, read(cmdb, tmp_path / "1"), bk_biz_id=1, prune=True)
    again = await import_answers(engine, read(cmdb, tmp_path / "2"), bk_biz_id=1, prune=True)
    assert again.changes.is_empty

    gone = cmdb.modules.pop()["bk_module_id"]
    cmdb.process_templates = [item for item in cmdb.process_templates if item["id"] != 2]
    cmdb.hosts_of[1] = []
    report = await import_answers(engine, read(cmdb, tmp_path / "3"), bk_biz_id=1, prune=True)
    assert report.changes.removed[Kind.MODULE] == ((gone,),)
    assert report.changes.removed[Kind.PROCESS_TEMPLATE] == ((2,),)
    assert {key[0] for key in report.changes.removed[Kind.MODULE_HOST_RELATION]} == {1, gone}


def test_credentials_travel_in_the_header_and_nowhere_else(cmdb: CmdbServer, tmp_path: Path) -> None:
    cmdb.fill(templates=1, modules=2, hosts=2, hosts_per_module=1)
    read(cmdb, tmp_path / "state")
    assert {call.headers["X-Bkapi-Authorization"] for call in cmdb.calls} == {AUTHORIZATION}
    assert {call.headers["X-Bkcmdb-Supplier-Account"] for call in cmdb.calls} == {"0"}
    assert {call.headers["X-Bkcmdb-User"] for call in cmdb.calls} == {"admin"}
    assert not any(SECRET in json.dumps(call.body) for call in cmdb.calls)
    assert not any(SECRET in file.read_text() for file in (tmp_path / "state").iterdir())


def test_esb_is_asked_by_name(cmdb: CmdbServer, tmp_path: Path) -> None:
    cmdb.fill(templates=1, modules=2, hosts=2, hosts_per_module=1)
    answers = read(cmdb, tmp_path / "state", url=f"{cmdb.url}/api/c/compapi/")
    assert total(answers, Kind.MODULE) == 2
    assert {call.api for call in cmdb.calls} == {
        "list_service_template", "list_proc_template", "find_module_with_relation", "list_biz_hosts",
        "find_module_host_relation",
    }  # fmt: skip


# Patience -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "trouble",
    [
        refusal(1199997, "too many requests"),
        refusal(1306429, "too many requests"),
        Reply(429, "slow down"),
        Reply(500, "<html>"),
        refusal(1199998, "proxy failed", status=500),
        refusal(1199017, "db operation failed"),
        refusal(1199999, "internal server error"),
        refusal(1306208, "unknown format"),
        Reply(502, ""),
        Reply(503, {}),
    ],
)
def test_passing_trouble_is_waited_out(cmdb: CmdbServer, tmp_path: Path, no_waits: list[float], trouble: Reply) -> None:
    cmdb.fill(templates=2, modules=3, hosts=600, hosts_per_module=3)
    cmdb.before = once(trouble, lambda call: call.api == "list_biz_hosts" and call.start > 0)
    answers = read(cmdb, tmp_path / "state")
    assert total(answers, Kind.HOST) == 600
    assert len(no_waits) == 1


def test_server_decides_how_long_to_wait(cmdb: CmdbServer, tmp_path: Path, waits: list[float]) -> None:
    cmdb.fill(templates=1, modules=2, hosts=2, hosts_per_module=1)
    cmdb.before = once(refusal(1199997, "busy", status=429, Retry_After="1"), lambda call: call.api == "list_biz_hosts")
    read(cmdb, tmp_path / "state")
    assert waits == [1.0]


def test_lasting_trouble_ends_the_pull_and_keeps_its_pages(
    cmdb: CmdbServer, tmp_path: Path, no_waits: list[float]
) -> None:
    cmdb.fill(templates=2, modules=3, hosts=600, hosts_per_module=3)
    cmdb.before = lambda call: Reply(503, "down") if call.api == "list_biz_hosts" and call.start else None
    with pytest.raises(CmdbUnavailable, match=r"list_biz_hosts: HTTP 503"):
        read(cmdb, tmp_path / "state")
    assert len(no_waits) == 2

    asked = {call.place for call in cmdb.calls if not (call.api == "list_biz_hosts" and call.start)}
    cmdb.calls.clear()
    cmdb.before = lambda call: None
    answers = read(cmdb, tmp_path / "state")
    assert (total(answers, Kind.HOST), total(answers, Kind.SERVICE_TEMPLATE)) == (600, 2)
    assert not asked & {call.place for call in cmdb.calls}


def test_server_that_is_not_there_is_unavailable(tmp_path: Path, no_waits: list[float]) -> None:
    with Cmdb("http://127.0.0.1:9") as client, pytest.raises(CmdbUnavailable, match="ConnectError"):
        pull(client, 1, Pages(tmp_path / "state", {}), Progress(disable=True))


# No -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (refusal(9900403, "no permission"), "list_service_template: CMDB answered 9900403: no permission"),
        (refusal(1199027, "user is missing", status=500), "CMDB answered 1199027"),
        (refusal(1306401, f"bad secret {SECRET}"), r"CMDB answered 1306401: bad secret \*\*\*"),
        (Reply(200, "<html>Log in</html>"), "HTTP 200 without an answer of CMDB's; check the URL"),
        (Reply(302, "", {"Location": "/login"}), "HTTP 302 without"),
        (Reply(404, "not here"), "HTTP 404 without"),
        (Reply(200, {"result": True, "code": 0}), "no list of items"),
    ],
)
def test_refusal_is_final_and_shows_no_secret(
    cmdb: CmdbServer, tmp_path: Path, no_waits: list[float], reply: Reply, message: str
) -> None:
    cmdb.before = lambda call: reply
    with pytest.raises(Exception, match=message) as refused:
        read(cmdb, tmp_path / "state")
    assert SECRET not in str(refused.value)
    assert (len(cmdb.calls), no_waits) == (1, [])


def test_business_without_modules_is_none(cmdb: CmdbServer, tmp_path: Path) -> None:
    with pytest.raises(CmdbRefused, match="no module of business 1"):
        read(cmdb, tmp_path / "state")


# Listings that move ---------------------------------------------------------------------------------------------------


async def test_listing_that_moved_is_read_again(cmdb: CmdbServer, engine: AsyncEngine, tmp_path: Path) -> None:
    cmdb.fill(templates=1, modules=2, hosts=1203, hosts_per_module=1)
    moves = iter([cmdb.hosts[3]])

    def move(call: Call) -> Reply | None:
        # One goes and one comes, so that CMDB's count stays and every later row moves up by one.
        if call.api == "list_biz_hosts" and call.start > 0 and (gone := next(moves, None)):
            cmdb.hosts.remove(gone)
            cmdb.hosts.append(host(5000, "10.9.9.9"))
        return None

    cmdb.before = move
    answers = read(cmdb, tmp_path / "state")
    report = await import_answers(engine, answers, bk_biz_id=1, prune=True)
    assert report.changes.added[Kind.HOST].keys() == {(item["bk_host_id"],) for item in cmdb.hosts}
    assert [call.start for call in cmdb.calls if call.api == "list_biz_hosts"] == [0, 499, 0, 499, 998]


async def test_listing_that_never_holds_still_removes_nothing(
    cmdb: CmdbServer, engine: AsyncEngine, tmp_path: Path
) -> None:
    cmdb.fill(templates=1, modules=700, hosts=2, hosts_per_module=1)
    await import_answers(engine, read(cmdb, tmp_path / "1"), bk_biz_id=1, prune=True)
    cmdb.calls.clear()

    def churn(call: Call) -> Reply | None:
        # The oldest goes and a new one comes between any two pages, so that CMDB's count stays.
        if call.api == "find_module_with_relation":
            cmdb.modules = [*cmdb.modules[1:], module(cmdb.modules[-1]["bk_module_id"] + 1, service_template_id=1)]
        return None

    cmdb.before = churn
    report = await import_answers(engine, read(cmdb, tmp_path / "2"), bk_biz_id=1, prune=True)
    assert sum(call.api == "find_module_with_relation" and not call.start for call in cmdb.calls) == READINGS
    assert report.changes.removed[Kind.MODULE] == ()
    assert report.changes.added[Kind.MODULE]
    assert any(
        "modules changed 3 times while they were read; nothing is removed" in note for note in report.changes.notes
    )
