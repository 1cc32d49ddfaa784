import asyncio
import json

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from contract.settings import Settings
from tests.integration.worker.postgres.plans import fetch
from worker.expand.catalogue import Host, Module
from worker.postgres import catalogue_reads
from worker.postgres.catalogue_reads import Catalogue
from worker.postgres.engine import create_engine, driver_connection

pytestmark = pytest.mark.anyio


def template_property(name: str, timeout: int = 10) -> str:
    return json.dumps(
        {
            "bk_process_name": {"value": name, "as_default_value": True},
            "bk_func_name": {"value": "java", "as_default_value": True},
            "timeout": {"value": timeout, "as_default_value": False},
            "bind_info": {
                "value": [
                    {
                        "row_id": 1,
                        "ip": {"value": "3", "as_default_value": True},
                        "port": {"value": "80", "as_default_value": True},
                        "protocol": {"value": "1", "as_default_value": False},
                        "enable": {"value": True, "as_default_value": False},
                    }
                ],
                "as_default_value": True,
            },
        }
    )


@pytest.fixture(autouse=True)
async def _catalogue(engine: AsyncEngine) -> None:
    """Business 1: module 60 with service template 7, module 61 without; hosts 2 and 3 in both, host 4 nowhere."""
    async with driver_connection(engine) as driver:
        await driver.execute(
            "INSERT INTO module (bk_module_id, bk_biz_id, bk_module_name, service_template_id)"
            " VALUES (60, 1, 'gse', 7), (61, 1, 'free', 0), (62, 1, 'orphan', 8)"
        )
        await driver.execute("INSERT INTO service_template (id, bk_biz_id) VALUES (7, 1)")
        await driver.executemany(
            "INSERT INTO process_template (id, bk_biz_id, service_template_id, property)"
            " VALUES ($1, 1, 7, $2::text::jsonb)",
            [(12, template_property("second")), (11, template_property("first"))],
        )
        await driver.execute(
            "INSERT INTO host (bk_host_id, bk_host_innerip, bk_host_outerip, bk_host_innerip_v6, bk_host_outerip_v6)"
            " SELECT n, '10.0.0.' || n, '', 'fd00::' || n, '' FROM generate_series(2, 4) AS n"
        )
        await driver.execute(
            "INSERT INTO module_host_relation (bk_module_id, bk_host_id, bk_biz_id)"
            " VALUES (60, 2, 1), (60, 3, 1), (61, 2, 1), (61, 3, 1), (62, 2, 1)"
        )


@pytest.fixture
def catalogue(engine: AsyncEngine) -> Catalogue:
    return Catalogue(engine, check_ms=60_000)


async def test_bound_module_comes_with_its_templates_in_id_order(catalogue: Catalogue) -> None:
    found = await catalogue.slice(1, 60, [3, 2, 3])

    assert found.module == Module(60, 1, "gse", 7)
    assert found.service_template_biz_id == 1
    assert [template.id for template in found.process_templates] == [11, 12]
    first = found.process_templates[0]
    assert (first.properties["bk_process_name"].value, first.properties["bk_process_name"].locked) == ("first", True)
    assert (first.properties["timeout"].value, first.properties["timeout"].locked) == (10, False)
    assert first.bind_info[0].ip.value == "3"
    assert found.hosts == {2: Host(2, "10.0.0.2", "", "fd00::2", ""), 3: Host(3, "10.0.0.3", "", "fd00::3", "")}


async def test_unbound_module_has_no_templates(catalogue: Catalogue) -> None:
    found = await catalogue.slice(1, 61, [2])

    assert found.module is not None
    assert not found.module.is_bound
    assert found.process_templates == ()


async def test_module_whose_template_is_gone_says_so(catalogue: Catalogue) -> None:
    found = await catalogue.slice(1, 62, [2])

    assert found.module is not None
    assert found.service_template_biz_id is None
    assert found.process_templates == ()


async def test_unknown_module_is_none(catalogue: Catalogue) -> None:
    assert (await catalogue.slice(1, 99, [2])).module is None


async def test_only_hosts_of_that_module_in_that_business_are_found(catalogue: Catalogue) -> None:
    assert set((await catalogue.slice(1, 60, [2, 4, 5])).hosts) == {2}
    assert set((await catalogue.slice(1, 62, [2, 3])).hosts) == {2}
    other = await catalogue.slice(9, 60, [2])
    assert other.module is not None  # CMDB V5 is told from V4 by it
    assert other.hosts == {}


async def test_cached_answer_needs_no_connection(database: str) -> None:
    engine = create_engine(database, connections=1, pool_timeout_s=2)
    catalogue = Catalogue(engine, check_ms=60_000)
    first = await catalogue.slice(1, 60, [2, 3])

    async with driver_connection(engine):
        again = await catalogue.slice(1, 60, [3])

    assert again.module is first.module
    assert again.expansions is first.expansions
    assert again.hosts[3] is first.hosts[3]
    await engine.dispose()


async def test_change_is_seen_at_the_next_check_and_as_a_whole(engine: AsyncEngine) -> None:
    patient, eager = Catalogue(engine, check_ms=60_000), Catalogue(engine, check_ms=0)
    for catalogue in (patient, eager):
        await catalogue.slice(1, 60, [2])

    async with driver_connection(engine) as driver:
        await driver.execute(
            "UPDATE process_template SET property = jsonb_set(property, '{timeout,value}', '99');"
            " UPDATE host SET bk_host_innerip = '10.9.9.9' WHERE bk_host_id = 2;"
            " DELETE FROM module_host_relation WHERE bk_host_id = 3"
        )
    old, new = await patient.slice(1, 60, [2]), await eager.slice(1, 60, [2, 3])

    assert old.process_templates[0].properties["timeout"].value == 10
    assert new.process_templates[0].properties["timeout"].value == 99
    assert new.hosts == {2: Host(2, "10.9.9.9", "", "fd00::2", "")}
    # A host that the patient one has not met yet brings the new version along, and with it everything else.
    whole = await patient.slice(1, 60, [2, 3])
    assert whole.process_templates[0].properties["timeout"].value == 99
    assert whole.hosts == new.hosts


def test_a_worker_looks_for_changes_within_a_second() -> None:
    assert Settings.model_fields["catalogue_check_ms"].default <= 1000


async def test_import_that_is_not_committed_is_not_seen(engine: AsyncEngine) -> None:
    catalogue = Catalogue(engine, check_ms=0)
    await catalogue.slice(1, 60, [2])

    async with driver_connection(engine) as driver:
        begun = driver.transaction()
        await begun.start()
        await driver.execute("UPDATE module SET bk_module_name = 'half' WHERE bk_module_id = 60")
        during = await catalogue.slice(1, 60, [2])
        await begun.commit()
    after = await catalogue.slice(1, 60, [2])

    assert during.module is not None
    assert after.module is not None
    assert (during.module.bk_module_name, after.module.bk_module_name) == ("gse", "half")


async def test_restored_older_catalogue_is_taken_too(engine: AsyncEngine) -> None:
    catalogue = Catalogue(engine, check_ms=0)
    await catalogue.slice(1, 60, [2])

    await fetch(engine, "UPDATE module SET bk_module_name = 'restored'")
    await fetch(engine, "UPDATE catalogue_version SET version = 1")

    found = await catalogue.slice(1, 60, [2])
    assert found.module is not None
    assert found.module.bk_module_name == "restored"


async def test_cache_is_bounded(engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue_reads, "MAX_HOSTS", 1)
    monkeypatch.setattr(catalogue_reads, "MAX_MODULES", 1)
    monkeypatch.setattr(catalogue_reads, "MAX_TEMPLATES", 1)
    catalogue = Catalogue(engine, check_ms=60_000)

    for _ in range(2):
        for module in (60, 61, 62):
            found = await catalogue.slice(1, module, [2, 3])
            assert set(found.hosts) == ({2} if module == 62 else {2, 3})
            assert len(found.process_templates) == (2 if module == 60 else 0)


@pytest.mark.rule(
    "V13",
    "the module has another template than when it was read first: 1113018",
    ours="cannot be: module, templates and hosts of a batch are of one version",
)
async def test_many_batches_at_once_while_the_catalogue_changes_see_whole_versions(engine: AsyncEngine) -> None:
    """Host and template always carry the same number: a slice that mixes versions would not."""
    catalogue = Catalogue(engine, check_ms=0)

    async def change() -> None:
        for number in range(100, 130):
            async with driver_connection(engine) as driver, driver.transaction():
                await driver.execute(
                    f"UPDATE process_template SET property = jsonb_set(property, '{{timeout,value}}', '{number}');"
                    f"UPDATE host SET bk_host_outerip = '{number}'"
                )

    async def read() -> None:
        for _ in range(40):
            found = await catalogue.slice(1, 60, [2, 3])
            numbers = {host.bk_host_outerip for host in found.hosts.values()}
            numbers |= {str(template.properties["timeout"].value) for template in found.process_templates}
            assert len(numbers - {"", "10"}) <= 1
            assert len(numbers) == 1 or numbers == {"", "10"}

    await asyncio.gather(change(), *(read() for _ in range(5)))
