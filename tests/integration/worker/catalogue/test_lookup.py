"""What the catalogue lacks is looked up in CMDB, once, before a request is refused for it."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
import redis as redis_client
from sqlalchemy.ext.asyncio import AsyncEngine

from chaos.cmdb.exchange import Call, Reply, refusal
from chaos.nursery import Nursery
from tests.conftest import RunBksi
from tests.integration.live import LiveWorker
from tests.integration.worker.catalogue.cmdb_server import CmdbServer
from worker.catalogue.cmdb import Cmdb
from worker.catalogue.lookup import Lookup
from worker.expand.expand import CatalogueSlice
from worker.postgres.catalogue_reads import Catalogue

pytestmark = pytest.mark.anyio


@pytest.fixture
def lookup(cmdb: CmdbServer, engine: AsyncEngine) -> Lookup:
    """Of a CMDB with the bound modules 2 and 3, whose hosts are 15 and 16, and 22 and 23."""
    cmdb.fill(templates=2, modules=3, hosts=600, hosts_per_module=2)
    return Lookup(engine, Cmdb(cmdb.url, timeout_s=5, give_up_after_s=1))


async def known(engine: AsyncEngine, bk_module_id: int, *hosts: int) -> CatalogueSlice:
    return await Catalogue(engine, check_ms=0).slice(1, bk_module_id, hosts)


async def test_module_comes_with_its_templates_and_the_hosts_that_are_in_it(
    lookup: Lookup, cmdb: CmdbServer, engine: AsyncEngine
) -> None:
    assert (await known(engine, 2, 15)).module is None
    assert await lookup.ask(1, 2, [15, 16, 23], lacks_module=True)
    found = await known(engine, 2, 15, 16, 23)
    assert found.module is not None
    assert (found.module.service_template_id, found.service_template_biz_id) == (1, 1)
    assert [template.id for template in found.process_templates] == [1]
    assert {id_: host.bk_host_innerip for id_, host in found.hosts.items()} == {15: "10.0.0.15", 16: "10.0.0.16"}


async def test_host_that_was_transferred_is_found_in_a_known_module(
    lookup: Lookup, cmdb: CmdbServer, engine: AsyncEngine
) -> None:
    await lookup.ask(1, 2, [15], lacks_module=True)
    cmdb.hosts_of[2].append(99)
    cmdb.calls.clear()
    assert await lookup.ask(1, 2, [99], lacks_module=False)
    assert list((await known(engine, 2, 99)).hosts) == [99]
    assert [call.api for call in cmdb.calls] == ["find_host_biz_relations", "list_biz_hosts"]


async def test_what_was_just_looked_up_is_not_asked_again(lookup: Lookup, cmdb: CmdbServer) -> None:
    assert await lookup.ask(1, 404, [1], lacks_module=True)
    cmdb.calls.clear()
    assert not await lookup.ask(1, 404, [1], lacks_module=True)
    assert cmdb.calls == []


async def test_those_that_lack_something_at_the_same_time_ask_together(
    lookup: Lookup, cmdb: CmdbServer, engine: AsyncEngine
) -> None:
    asked = (lookup.ask(1, module, [15 + number], lacks_module=True) for module in (2, 3) for number in range(40))
    assert all(await asyncio.gather(*asked))
    assert [call.api for call in cmdb.calls].count("find_host_biz_relations") <= 2
    assert (await known(engine, 3, 22)).hosts.keys() == {22}


@pytest.mark.parametrize("answer", [lambda _: Reply(503, "away"), lambda _: refusal(9900403, "no permission")])
async def test_cmdb_that_is_away_or_says_no_changes_nothing_and_is_left_alone_for_a_while(
    lookup: Lookup, cmdb: CmdbServer, engine: AsyncEngine, answer: Callable[[Call], Reply]
) -> None:
    cmdb.before = answer
    assert not await lookup.ask(1, 2, [15], lacks_module=True)
    count = len(cmdb.calls)
    assert not await lookup.ask(1, 3, [22], lacks_module=True)
    assert len(cmdb.calls) == count
    assert (await known(engine, 2)).module is None


@pytest.fixture
def settings(cmdb: CmdbServer, database: str, redis: "redis_client.Redis", redis_url: str) -> dict[str, str]:
    """Of a worker beside that CMDB, with an empty catalogue and an empty Redis."""
    return {"BKSI_REDIS_URL": redis_url, "BKSI_POSTGRES_DSN": database, "BKSI_CMDB_URL": cmdb.url}


async def test_live_worker_creates_what_its_catalogue_did_not_know_and_refuses_what_cmdb_does_not_know(
    cmdb: CmdbServer, settings: dict[str, str], nursery: Nursery, tmp_path: Path
) -> None:
    cmdb.fill(templates=1, modules=60, hosts=500, hosts_per_module=3)

    def ended(worker: LiveWorker, host: int) -> tuple[int, list[str]]:
        report = worker.report(worker.send(host))
        return report["code"], [item["outcome"] for item in report["items"]]

    with LiveWorker(settings, tmp_path, nursery) as worker:
        host, other, third = cmdb.hosts_of[60]
        assert ended(worker, host) == (0, ["created"])
        assert ended(worker, other) == (0, ["created"])
        assert ended(worker, 499)[0] == 1110056
        cmdb.before = lambda call: Reply(503, "away")
        assert ended(worker, third)[0] == 1110056
        assert ended(worker, host) == (0, ["existing"])


def test_worker_does_not_start_with_credentials_it_cannot_read(bksi: RunBksi, redis_url: str) -> None:
    env = {"BKSI_REDIS_URL": redis_url, "BKSI_CMDB_URL": "http://127.0.0.1:1", "BKSI_CMDB_AUTHORIZATION": "secret-91be"}
    started = bksi("worker", env=env)
    assert started.returncode != 0
    assert "BKSI_CMDB_AUTHORIZATION" in started.stderr
    assert "secret-91be" not in started.stderr + started.stdout
