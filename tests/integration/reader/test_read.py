"""`bksi read` as a process on a role that may only read: CMDB's listings, our own, and who sees what."""

import asyncio
import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from api_shim.identity.applications import hash_secret
from chaos.nursery import Nursery
from contract.message import Caller
from devstack.ports import free_port
from tests.conftest import execute
from tests.integration.live import running
from tests.integration.worker.postgres.plans import bind, plan, process, request
from tests.unit.worker.catalogue.cmdb_items import bind_row, envelope, process_instance, service_instance
from worker.catalogue.answers import listed
from worker.catalogue.instance_import import import_instances
from worker.postgres.cmdb_pulls import record
from worker.postgres.engine import create_engine, driver_connection
from worker.postgres.writer import Writer

ROLE = "reads_only"
APPS = f"""
[apps.monitor]
secrets = ["{hash_secret("monitor-secret")}"]
bk_biz_ids = [1]
supplier_accounts = ["0", "tencent"]

[apps.other]
secrets = ["{hash_secret("other-secret")}"]
bk_biz_ids = [2]
"""
PORTS = (bind(9, "9"), bind(1, "1"))


_HOSTS_OF_MODULES = """
INSERT INTO module (bk_module_id, bk_biz_id, bk_set_id, bk_module_name, service_template_id, "default")
    VALUES (60, 1, 1, 'web', 5, 0), (61, 1, 1, 'db', 0, 0);
INSERT INTO host (bk_host_id) SELECT generate_series(2, 9);
INSERT INTO module_host_relation (bk_module_id, bk_host_id, bk_biz_id)
    SELECT 60, generate_series(2, 9), 1 UNION SELECT 61, generate_series(3, 4), 1
"""


async def _fill(dsn: str) -> list[int]:
    """CMDB's 72 to 74 of which 73 is gone, five of ours on hosts 2 to 6, and one of the account "tencent"."""
    engine = create_engine(dsn, connections=1)
    web = service_instance(72, 2, "web", service_template_id=0, labels={"env": "prod", "zone": "a"})
    pair = process_instance(720, 72, bind_info=[bind_row(9, "9"), bind_row(1, "1")])
    web["process_instances"] = [pair, process_instance(721, 72, "php", 0)]
    items = [web, service_instance(73, 3, labels={"env": "test"}), service_instance(74, 4, "db", bk_module_id=61)]
    for shown in (items, [items[0], items[2]]):
        await import_instances(engine, [listed(envelope(*shown), "file")], first_id=10_000, prune=True)
    writer = Writer(engine, first_id=10_000)
    report = (await writer.write(request(plan([2, 3, 4, 5, 6], [process(1, PORTS)])))).report
    mine = Caller(bk_app_code="x", bk_username="admin", bk_supplier_account="tencent")
    hidden = (await writer.write(replace(request(plan([7])), caller=mine))).report
    async with driver_connection(engine) as driver:
        await driver.execute(_HOSTS_OF_MODULES)
        await record(driver, 1, "catalogue", 120)
        await record(driver, 1, "instances", 7200)
    await engine.dispose()
    assert report is not None
    assert hidden is not None
    return [*(report.data or ()), *(hidden.data or ())]


class Reader:
    """A reader that was started, and the ids of ours."""

    def __init__(self, port: int, ids: list[int]) -> None:
        self.port, self.ids = port, ids

    def ask(self, path: str, body: Any = None, *, app: str = "monitor", account: str = "0") -> tuple[int, Any]:
        headers = {"X-Bkcmdb-Supplier-Account": account}
        if app:
            headers["X-Bkapi-Authorization"] = json.dumps({"bk_app_code": app, "bk_app_secret": f"{app}-secret"})
        content = None if body is None else json.dumps(body).encode()
        if content:
            headers["Content-Type"] = "application/json"
        asked = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", content, headers)
        try:
            with urllib.request.urlopen(asked, timeout=20) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def listing(self, api: str = "service_instance", **body: Any) -> Any:
        body = {"bk_biz_id": 1, "page": {"start": 0, "limit": 100}} | body
        status, answer = self.ask(f"/api/v3/findmany/proc/{api}", body)
        assert (status, answer["code"]) == (200, 0), answer
        return answer["data"]

    def ids_of(self, **body: Any) -> list[int]:
        return [one["id"] for one in self.listing(**body)["info"]]

    def v1(self, **query: Any) -> Any:
        return self.ask(f"/v1/service-instances?{urlencode({'bk_biz_id': 1} | query, doseq=True)}")


@pytest.fixture(scope="module")
def filled(
    clone_database: Callable[[str], str], migrated_template: str, postgres_dsn: str
) -> Iterator[tuple[str, list[int]]]:
    """DSN of the role that may only read, and the ids of ours."""
    dsn = clone_database(migrated_template)
    ids = asyncio.run(_fill(dsn))
    execute(dsn, f"CREATE ROLE {ROLE} LOGIN PASSWORD 'secret'; GRANT SELECT ON ALL TABLES IN SCHEMA public TO {ROLE}")
    scheme, _, rest = dsn.partition("://")
    yield f"{scheme}://{ROLE}:secret@{rest.rpartition('@')[2]}", ids
    execute(dsn, f"DROP OWNED BY {ROLE}; DROP ROLE {ROLE}")
    execute(postgres_dsn, f'DROP DATABASE "{dsn.rpartition("/")[2]}" WITH (FORCE)')


@pytest.fixture(scope="module")
def reader(
    nursery: Nursery, tmp_path_factory: pytest.TempPathFactory, filled: tuple[str, list[int]]
) -> Iterator[Reader]:
    directory: Path = tmp_path_factory.mktemp("reader")
    (directory / "apps.toml").write_text(APPS)
    found = Reader(free_port(), filled[1])
    env = {
        "BKSI_READ_DSN": filled[0],
        "BKSI_READ_PORT": str(found.port),
        "BKSI_APPS_FILE": str(directory / "apps.toml"),
    }

    def is_ready() -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{found.port}/readyz", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    with running(nursery, "read", environment=env, log=directory / "read.log", ready=is_ready):
        yield found


def test_metrics_say_how_long_ago_a_business_was_read_from_cmdb(reader: Reader) -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{reader.port}/metrics", timeout=20) as answer:
        lines = answer.read().decode().splitlines()
    ages = dict(line.split(" ") for line in lines if line.startswith("bksi_catalogue_age_seconds{"))
    catalogue, instances = (
        float(ages[f'bksi_catalogue_age_seconds{{bk_biz_id="1",what="{what}"}}']) for what in ("catalogue", "instances")
    )
    assert 120 <= catalogue < 7200 <= instances


def test_a_business_is_listed_as_cmdb_lists_it(reader: Reader) -> None:
    data = reader.listing()
    assert data["count"] == len(data["info"]) == 7
    assert [one["id"] for one in data["info"]] == [72, 74, *reader.ids[:5]]
    assert data["info"][0] == {
        "id": 72,
        "name": "web",
        "bk_biz_id": 1,
        "bk_module_id": 60,
        "bk_host_id": 2,
        "service_template_id": 0,
        "labels": {"env": "prod", "zone": "a"},
        "creator": "admin",
        "modifier": "admin",
        "create_time": data["info"][0]["create_time"],
        "last_time": data["info"][0]["last_time"],
        "bk_supplier_account": "0",
    }


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({"bk_module_id": 61}, [74]),
        ({"search_key": "we"}, [72]),
        ({"search_key": "w.b"}, []),
        ({"service_instance_ids": [74, 73, 72]}, [72, 74]),
        ({"bk_host_ids": [2], "search_key": "web"}, [72]),
        ({"selectors": [{"key": "env", "operator": "=", "values": ["prod"]}]}, [72]),
        ({"selectors": [{"key": "env", "operator": "in", "values": ["test", "x"]}]}, []),
        ({"selectors": [{"key": "zone", "operator": "exists", "values": []}]}, [72]),
        ({"selectors": [{"key": "env", "operator": "!"}], "bk_module_id": 61}, [74]),
        ({"selectors": [{"key": "env", "operator": "notin", "values": ["prod"]}], "bk_module_id": 61}, [74]),
        (
            {"selectors": [{"key": "env", "operator": "!=", "values": "prod"}], "bk_host_ids": [2], "search_key": "w"},
            [],
        ),
    ],
)
def test_filters_are_cmdbs(reader: Reader, asked: dict[str, Any], found: list[int]) -> None:
    assert reader.ids_of(**asked) == found


def test_pages_are_cmdbs(reader: Reader) -> None:
    whole = reader.ids_of()
    assert reader.ids_of(page={"start": 2, "limit": 3}) == whole[2:5]
    assert reader.listing(page={"start": 2, "limit": 3})["count"] == 7
    assert reader.listing(page={"start": 90, "limit": 3}) == {"count": 7, "info": []}
    assert reader.ids_of(page={"start": 0, "limit": 2, "sort": "-id"}) == whole[:-3:-1]


def test_details_have_the_processes_in_order(reader: Reader) -> None:
    (one,) = reader.listing("service_instance/details", service_instance_ids=[72])["info"]
    first, second = one["process_instances"]
    assert [row["port"] for row in first["process"]["bind_info"]] == ["9", "1"]
    assert (first["process"]["bk_process_id"], second["relation"]["process_template_id"]) == (720, 0)
    assert first["relation"]["service_instance_id"] == 72
    newest = reader.listing("service_instance/details", page={"start": 0, "limit": 1})["info"]
    assert [one["id"] for one in newest] == [reader.ids[4]]


def test_processes_of_one_instance(reader: Reader) -> None:
    body = {"bk_biz_id": 1, "service_instance_id": 72}
    status, answer = reader.ask("/api/c/compapi/v2/cc/list_process_instance/", body)
    assert status == 200
    assert [pair["property"]["bk_process_name"] for pair in answer["data"]] == ["nginx", "php"]
    assert set(answer) == {"result", "code", "message", "permission", "request_id", "data"}
    body["service_instance_id"] = 73
    assert reader.ask("/api/v3/findmany/proc/process_instance", body)[1]["data"] == []


def test_hosts_that_have_no_instance_in_a_module(reader: Reader) -> None:
    """Of the hosts 2 to 9 in module 60, those that nobody has created one on; what CMDB has no more counts as none."""
    path = "/api/v3/findmany/proc/host/with_no_service_instance"
    status, answer = reader.ask(path, {"bk_biz_id": 1, "bk_module_id": 60})
    assert (status, answer["code"], answer["data"]) == (200, 0, {"bk_host_ids": [8, 9]})
    body = {"bk_biz_id": 1, "bk_module_id": 60, "bk_host_ids": [2, 9, 99]}
    assert reader.ask(path, body)[1]["data"] == {"bk_host_ids": [9]}
    assert reader.ask(path, {"bk_biz_id": 1, "bk_module_id": 61})[1]["data"] == {"bk_host_ids": [3]}
    assert reader.ask(path, {"bk_biz_id": 1})[1]["code"] == 1199006
    assert reader.ask(path, body, app="other")[1]["code"] == 9900403

    v1 = f"/v1/hosts-without-instance?{urlencode({'bk_biz_id': 1, 'bk_module_id': 60, 'limit': 1})}"
    first = reader.ask(v1)[1]
    assert first["bk_host_ids"] == [8]
    second = reader.ask(f"{v1}&cursor={first['next_cursor']}")[1]
    assert (second["bk_host_ids"], second["next_cursor"]) == ([9], None)
    assert reader.ask("/v1/hosts-without-instance?bk_biz_id=1")[1]["code"] == 1199010


def test_v1_refuses_a_parameter_that_a_call_does_not_know(reader: Reader) -> None:
    assert reader.ask("/v1/hosts-without-instance?bk_biz_id=1&bk_module_id=60&name=web")[1]["code"] == 1199006
    _, misspelt = reader.ask("/v1/service-instances/1?detial=1")
    assert misspelt["message"] == "query.detial is not valid: this call takes no parameters"


def test_v1_turns_pages_by_cursor(reader: Reader) -> None:
    seen, cursor = [], None
    while True:
        status, answer = reader.v1(limit=3, **({"cursor": cursor} if cursor else {}))
        assert status == 200
        seen += [one["id"] for one in answer["service_instances"]]
        if (cursor := answer["next_cursor"]) is None:
            break
    assert seen == reader.ids_of()
    status, answer = reader.v1(bk_host_id="4,5", name="db")
    assert [(one["id"], one["cmdb_id"]) for one in answer["service_instances"]] == [(74, 74)]
    status, answer = reader.ask(f"/v1/service-instances/{reader.ids[0]}")
    assert answer["service_instance"]["cmdb_id"] is None
    assert len(answer["service_instance"]["process_instances"]) == 1


def test_nobody_sees_what_is_somebody_elses(reader: Reader) -> None:
    body = {"bk_biz_id": 1, "page": {"limit": 10}}
    path = "/api/v3/findmany/proc/service_instance"
    assert reader.ask(path, body, app="")[1]["code"] == 1306401
    status, answer = reader.ask(path, body, app="other")
    assert (status, answer["code"], answer["data"]) == (200, 9900403, None)
    assert reader.v1(bk_biz_id=2)[0] == 403
    assert reader.ask("/v1/service-instances/72", app="other")[0] == 404
    assert reader.ask(f"/v1/service-instances/{reader.ids[5]}")[0] == 404
    assert reader.ask(f"/v1/service-instances/{reader.ids[5]}", account="tencent")[0] == 200
    assert reader.ask(path, body, account="tencent")[1]["data"]["count"] == 8


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, 1199006),
        ({"bk_biz_id": "1"}, 1199009),
        ({"bk_biz_id": 1, "page": {"limit": 1001}}, 1199059),
        ({"bk_biz_id": 1, "page": {"start": -1, "limit": 1}}, 1199059),
        ({"bk_biz_id": 1}, 1199059),
        ({"bk_biz_id": 1, "page": {"limit": 1, "sort": "id; DROP TABLE process"}}, 1199006),
        ({"bk_biz_id": 1, "page": {"limit": 1}, "bk_host_list": [1] * 1001}, 1199035),
        ({"bk_biz_id": 1, "page": {"limit": 1}, "bk_host_list": [1], "bk_host_id": 1}, 1199006),
        ({"bk_biz_id": 1, "page": {"limit": 1}, "selectors": [{"key": "a", "operator": "~"}]}, 1199006),
        ({"bk_biz_id": 2**70, "page": {"limit": 1}}, 1199006),
    ],
)
def test_bad_questions_are_answered_with_cmdbs_codes(reader: Reader, body: dict[str, Any], code: int) -> None:
    status, answer = reader.ask("/api/v3/findmany/proc/service_instance/details", body)
    assert (status, answer["result"], answer["code"], answer["bk_error_code"]) == (200, False, code, code)
