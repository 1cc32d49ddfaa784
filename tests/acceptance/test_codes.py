"""Every code, through HTTP and a real worker: number, both texts, the field's full path, and nothing written."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import httpx2
import pytest

from chaos.nursery import Nursery
from contract.codes import Code
from tests.acceptance.calls import ESB, JSON, bound, count_rows, finish, run, unbound
from tests.acceptance.causes import CAUSES, NO_REQUEST_CAUSES, NOBODYS_ID, World, half_a_body, unfinished
from tests.acceptance.codes import AT_THE_DOOR, BY_THE_WORKER, ODD_HOST, ODD_MODULE, Case
from tests.acceptance.pair import Pair
from tests.acceptance.side import CHINESE, Said, Side, side_shim
from tests.conftest import RunBksi
from tests.unit.worker.catalogue.cmdb_items import (
    column,
    envelope,
    host,
    module,
    process_template,
    relation,
    service_template,
)


@pytest.fixture(scope="module")
def http(pair: Pair) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=pair.http, timeout=60) as client:
        yield client


# What one body causes -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def odd_template(pair: Pair, bksi: RunBksi, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A template that no instance can be made of. The worker that runs sees it without being told."""
    row = {"row_id": 1, "ip": column("1"), "port": column("80,443", locked=True), "protocol": column("1")}
    listings: dict[str, list[Any]] = {
        "service": [service_template(70, 7)],
        "process": [process_template(70, 70, "odd", 7, bind_info=column([row]))],
        "module": [module(ODD_MODULE, 7, 70)],
        "host": [host(ODD_HOST, "10.7.0.1")],
        "relation": [relation(ODD_HOST, ODD_MODULE)],
    }
    directory = tmp_path_factory.mktemp("catalogue")
    for name, items in listings.items():
        listing = envelope(*items, name="relation" if name == "relation" else "info")
        (directory / f"{name}.json").write_text(json.dumps(listing))
    imported = bksi("catalogue", "import", *directory.iterdir(), env={"BKSI_POSTGRES_DSN": pair.postgres})
    assert imported.returncode == 0, imported.stderr
    body = bound(ODD_HOST, module=ODD_MODULE) | {"bk_biz_id": 7}
    while run(pair.http, body)["code"] == Code.MODULE_NOT_FOUND:
        time.sleep(0.05)


def check(answer: dict[str, Any], code: Code, message: str) -> None:
    assert (answer["code"], answer["message"]) == (code, message)
    assert (answer["result"], answer["data"]) == (False, None)


@pytest.mark.parametrize("case", AT_THE_DOOR, ids=str)
def test_refused_at_the_door(pair: Pair, http: httpx2.Client, case: Case) -> None:
    before = count_rows(pair.postgres)

    def asked_on(path: str) -> Said:
        headers = JSON | case.headers
        return Said.of(lambda more: http.post(path + case.query, content=case.content, headers={**headers, **more}))

    v1, compat = asked_on("/v1/batches"), asked_on(ESB)

    for answer in (v1, compat):
        check(answer.english, case.code, case.english)
        check(answer.chinese, case.code, case.chinese)
    [error] = v1.english["errors"]
    assert (error["code"], error["path"]) == (case.code, case.path)
    assert count_rows(pair.postgres) == before


@pytest.mark.rule("5.2", "on failure result is false, data is null, and nothing is stored")
@pytest.mark.usefixtures("odd_template")
@pytest.mark.parametrize("case", BY_THE_WORKER, ids=str)
def test_refused_by_the_worker(pair: Pair, http: httpx2.Client, case: Case) -> None:
    if case.before is not None:
        assert run(pair.http, case.before)["result"]
    before = count_rows(pair.postgres)

    accepted = http.post("/v1/batches" + case.query, content=case.content, headers=JSON)
    assert accepted.status_code == 202, accepted.text
    report = finish(pair.http, accepted.json()["request_id"])
    chinese = http.get(accepted.headers["Location"], headers=CHINESE).json()
    compat = http.post(ESB + case.query, content=case.content, headers=JSON).json()

    for answer in (report, compat):
        check(answer, case.code, case.english)
    check(chinese, case.code, case.chinese)
    assert report["status"] == "FAILED"
    assert (report["errors"][0]["code"], report["errors"][0]["path"]) == (case.code, case.path)
    assert chinese["errors"][0]["message"] == case.chinese
    assert count_rows(pair.postgres) == before


def test_twenty_errors_of_a_batch_are_listed_and_the_first_decides(pair: Pair) -> None:
    before = count_rows(pair.postgres)
    process = {"process_info": {"bk_process_name": "a", "bk_func_name": "a", "timeout": 0}}
    body = unbound(1) | {"instances": [{"bk_host_id": host, "processes": [process]} for host in range(1, 26)]}

    report = run(pair.http, body)

    paths = [f"instances[{index}].processes[0].process_info.timeout" for index in range(25)]
    assert [error["path"] for error in report["errors"]] == paths[:20]
    check(report, Code.VALUE_INVALID, f"The value of {paths[0]} is not allowed")
    assert [(item["outcome"], item["path"]) for item in report["items"]] == [("failed", path) for path in paths]
    assert count_rows(pair.postgres) == before


# What it takes more than a body to cause ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def side(pair: Pair, nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Side]:
    with side_shim(pair.redis, nursery, tmp_path_factory.mktemp("side")) as side:
        yield side


@pytest.fixture(scope="module")
def world(pair: Pair, http: httpx2.Client, side: Side) -> World:
    """Whatever somebody has to wait for is waited for together."""
    with ThreadPoolExecutor() as pool:
        slow = {
            code: [pool.submit(ask, language) for language in ({}, CHINESE)]
            for code, ask in {
                Code.BODY_UNREADABLE: partial(half_a_body, pair.http),
                Code.BROKER_UNAVAILABLE: side.poll(NOBODYS_ID),
            }.items()
        }
        prepared = unfinished(pair, side)
        answers = {code: Said(*(answer.result().json() for answer in both)) for code, both in slow.items()}
        return World(pair, http, side, prepared | answers)


@pytest.mark.rule(
    "V26",
    "a crash anywhere: 1199999 with the server's name",
    ours="1199999 from the submitter; when a worker crashes the request starts again, and after three starts 1190010",
)
@pytest.mark.parametrize("code", CAUSES, ids=lambda code: str(int(code)))
def test_caused_otherwise(world: World, code: Code) -> None:
    cause, english, chinese = CAUSES[code]
    before = count_rows(world.pair.postgres)

    answer = cause(world)

    assert (answer.english["code"], answer.english["message"]) == (code, english)
    assert (answer.chinese["code"], answer.chinese["message"]) == (code, chinese)
    if code is Code.SUCCESS:
        return
    assert (answer.english["result"], answer.english["data"]) == (False, None)
    if code is not Code.PARTLY_FAILED:
        assert count_rows(world.pair.postgres) == before


def test_every_code_is_tried_or_said_to_be_beyond_any_request() -> None:
    tried = {case.code for case in (*AT_THE_DOOR, *BY_THE_WORKER)} | CAUSES.keys()
    assert tried.isdisjoint(NO_REQUEST_CAUSES)
    assert tried | NO_REQUEST_CAUSES.keys() == set(Code)
