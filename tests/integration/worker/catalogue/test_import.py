"""Importing into a real PostgreSQL: idempotent, all or nothing, and never a hand on instances."""

import asyncio
import json
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from devstack.sql import fetch
from tests.conftest import RunBksi, execute
from tests.integration.worker.catalogue.conftest import CATALOGUE, INSTANCES, rows
from tests.unit.worker.catalogue.cmdb_items import (
    answer,
    column,
    envelope,
    host,
    module,
    process_template,
    relation,
    service_template,
)
from worker.catalogue.answers import Answer, Kind
from worker.catalogue.load import import_answers
from worker.postgres.catalogue_reads import Catalogue
from worker.postgres.errors import DatabaseError, typed_errors

pytestmark = pytest.mark.anyio

BUSINESS = (
    answer(service_template(5), service_template(6)),
    answer(process_template(7, 5, "nginx", timeout=column(10)), process_template(9, 6, "java")),
    answer(module(60), module(61, service_template_id=0)),
    answer(host(1, "10.0.0.1"), host(2, "10.0.0.2")),
    answer(relation(1, 60, 61), relation(2, 60), request={"bk_biz_id": 1, "bk_module_ids": [60, 61]}),
)


async def version(dsn: str) -> int:
    [(number,)] = await fetch(dsn, "SELECT version FROM catalogue_version")
    return int(number)


async def test_rows_are_stored_as_cmdb_says(engine: AsyncEngine, database: str) -> None:
    await import_answers(engine, BUSINESS)
    stored = await rows(database)
    assert stored["service_template"] == [(5, 1, "template 5", "0"), (6, 1, "template 6", "0")]
    assert [row[:4] for row in stored["process_template"]] == [(7, 1, 5, "nginx"), (9, 1, 6, "java")]
    assert (
        json.loads(stored["process_template"][0][4]) == process_template(7, 5, "nginx", timeout=column(10))["property"]
    )
    assert stored["module"] == [(60, 1, 0, "module 60", 5, 0, "0"), (61, 1, 0, "module 61", 0, 0, "0")]
    assert stored["host"] == [(1, "10.0.0.1", "", "", "", 0, "0"), (2, "10.0.0.2", "", "", "", 0, "0")]
    assert stored["module_host_relation"] == [(60, 1, 1, 0), (60, 2, 1, 0), (61, 1, 1, 0)]


async def test_second_import_changes_nothing_not_even_the_version(engine: AsyncEngine, database: str) -> None:
    first = await import_answers(engine, BUSINESS)
    stored = await rows(database)
    again = await import_answers(engine, BUSINESS, prune=True)
    assert again.changes.is_empty
    assert again.version == first.version == await version(database)
    assert await rows(database) == stored


async def test_each_import_that_changes_something_raises_the_version(engine: AsyncEngine, database: str) -> None:
    before = await version(database)
    first = await import_answers(engine, BUSINESS)
    second = await import_answers(engine, [answer(host(2, "10.0.0.22"))])
    assert before < first.version < second.version == await version(database)


async def test_refused_items_leave_the_rest_imported(engine: AsyncEngine, database: str) -> None:
    report = await import_answers(engine, [*BUSINESS, answer(host(3, "not an address"), host(4, "10.0.0.4"))])
    assert [str(refusal) for refusal in report.refused] == [
        "file.json: data.info[0].bk_host_innerip: must hold IPv4 addresses, separated by commas"
    ]
    assert [row[0] for row in (await rows(database, "host"))["host"]] == [1, 2, 4]


async def test_pruning_import_removes_what_its_listings_lack(engine: AsyncEngine, database: str) -> None:
    await import_answers(engine, BUSINESS)
    report = await import_answers(
        engine,
        [answer(service_template(6)), answer(module(61, service_template_id=0)), answer(relation(1, 61))],
        prune=True,
    )
    assert {kind: keys for kind, keys in report.changes.removed.items() if keys} == {
        Kind.SERVICE_TEMPLATE: ((5,),),
        Kind.PROCESS_TEMPLATE: ((7,),),
        Kind.MODULE: ((60,),),
        Kind.MODULE_HOST_RELATION: ((60, 1), (60, 2)),
    }
    stored = await rows(database)
    assert [len(stored[table]) for table in CATALOGUE] == [1, 1, 1, 2, 1]


async def test_import_without_prune_removes_nothing(engine: AsyncEngine, database: str) -> None:
    await import_answers(engine, BUSINESS)
    stored = await rows(database)
    report = await import_answers(engine, [answer(service_template(6)), answer(module(61, service_template_id=0))])
    assert report.changes.is_empty
    assert await rows(database) == stored


async def test_dry_run_reports_and_writes_nothing(engine: AsyncEngine, database: str) -> None:
    before = await version(database)
    report = await import_answers(engine, BUSINESS, dry_run=True)
    assert report.counts()[Kind.HOST]["added"] == 2
    assert (report.version, await version(database)) == (before, before)
    assert not any((await rows(database)).values())


async def test_failure_in_the_last_table_leaves_no_trace_of_the_others(engine: AsyncEngine, database: str) -> None:
    await asyncio.to_thread(
        execute,
        database,
        """
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'disk on fire'; END $$;
        CREATE TRIGGER refuse BEFORE INSERT ON module_host_relation EXECUTE FUNCTION refuse();
        """,
    )
    before = await version(database)
    with pytest.raises(DatabaseError), typed_errors():
        await import_answers(engine, BUSINESS)
    assert not any((await rows(database)).values())
    assert await version(database) == before


async def test_imports_at_the_same_time_end_in_one_of_their_orders(engine: AsyncEngine, database: str) -> None:
    def listing(inner: str) -> list[Answer]:
        return [*BUSINESS[:3], answer(*(host(id_, inner) for id_ in range(1, 201))), BUSINESS[4]]

    await asyncio.gather(*(import_answers(engine, listing(f"10.0.0.{number}")) for number in range(1, 5)))
    stored = await rows(database)
    assert len(stored["host"]) == 200
    assert len({row[1] for row in stored["host"]}) == 1


async def test_changed_template_is_seen_by_a_worker_and_leaves_instances_alone(
    engine: AsyncEngine, database: str
) -> None:
    await import_answers(engine, BUSINESS)
    await asyncio.to_thread(
        execute,
        database,
        """
        INSERT INTO service_instance (id, bk_biz_id, bk_module_id, bk_host_id, instance_key, service_template_id, name,
            creator, modifier, bk_supplier_account, request_id)
        VALUES (1, 1, 60, 2, '', 5, 'i', 'admin', 'admin', '0', 'r');
        INSERT INTO process (bk_process_id, service_instance_id, bk_biz_id, bk_host_id, process_template_id,
            bk_process_name, bk_func_name, timeout, bk_supplier_account, bk_created_by)
        VALUES (1, 1, 1, 2, 7, 'nginx', 'nginx', 10, '0', 'admin');
        INSERT INTO process_bind_info VALUES (2, 1, 1, '10.0.0.2', '80', '1', true);
        """,
    )
    before = await rows(database, *INSTANCES)
    catalogue = Catalogue(engine, check_ms=0)
    assert (await catalogue.slice(1, 60, [2])).process_templates[0].properties["timeout"].value == 10

    changed = answer(process_template(7, 5, "nginx", timeout=column(99)))
    await import_answers(engine, [changed, answer(host(2, "10.0.0.99"))])
    seen = await catalogue.slice(1, 60, [2])
    assert seen.process_templates[0].properties["timeout"].value == 99
    assert seen.hosts[2].bk_host_innerip == "10.0.0.99"

    await import_answers(engine, [answer(service_template(6)), answer(module(61, service_template_id=0))], prune=True)
    assert (await catalogue.slice(1, 60, [2])).module is None
    assert await rows(database, *INSTANCES) == before


async def test_relation_moves_from_module_to_module(engine: AsyncEngine, database: str) -> None:
    await import_answers(engine, BUSINESS)
    await import_answers(engine, [answer(relation(2, 61)), answer(relation(1, 60))], prune=True)
    assert (await rows(database))["module_host_relation"] == [(60, 1, 1, 0), (61, 2, 1, 0)]


# The command ----------------------------------------------------------------------------------------------------------


def test_command_reports_and_says_by_its_exit_code_whether_all_went_in(
    bksi: RunBksi, database: str, tmp_path: Path
) -> None:
    env = {"BKSI_POSTGRES_DSN": database}
    (tmp_path / "hosts.json").write_text(json.dumps(envelope(host(1, "10.0.0.1"), host(2, "10.0.0.2"))))
    (tmp_path / "bad.json").write_text(json.dumps(envelope(host(3, "10.0.0.3"), {"bk_host_id": "4"})))
    (tmp_path / "request.json").write_text('{"bk_biz_id": 1, "instances": []}')

    good = bksi("catalogue", "import", tmp_path / "hosts.json", env=env)
    assert (good.returncode, good.stderr) == (0, "")
    assert "host      2" in good.stdout

    bad = bksi("catalogue", "import", *sorted(tmp_path.glob("*.json")), tmp_path / "gone.json", "--json", env=env)
    report = json.loads(bad.stdout)
    assert bad.returncode == 1
    assert report["counts"]["host"] == {"added": 1, "changed": 0, "removed": 0, "unchanged": 2, "refused": 1}
    assert report["changes"] == [{"kind": "host", "action": "added", "bk_host_id": 3, "fields": []}]
    assert [(refused["source"], refused["path"]) for refused in report["refused"]] == [
        (str(tmp_path / "request.json"), ""),
        (str(tmp_path / "gone.json"), ""),
        (str(tmp_path / "bad.json"), "data.info[1].bk_host_id"),
    ]


def test_command_without_a_database_fails_in_one_line(bksi: RunBksi, tmp_path: Path) -> None:
    (tmp_path / "hosts.json").write_text(json.dumps([host()]))
    env = {"BKSI_POSTGRES_DSN": f"postgresql://postgres@/postgres?host={tmp_path}"}
    failed = bksi("catalogue", "import", tmp_path / "hosts.json", env=env)
    assert failed.returncode == 1
    assert failed.stderr.startswith(f"BKSI_POSTGRES_DSN (postgresql:///postgres?host={tmp_path}): ")
    assert failed.stderr.count("\n") == 1


@pytest.mark.parametrize("options", [(), ("--instances",)])
def test_command_without_a_database_names_the_files_that_are_missing_before_it(
    bksi: RunBksi, tmp_path: Path, options: tuple[str, ...]
) -> None:
    env = {"BKSI_POSTGRES_DSN": f"postgresql://postgres@/postgres?host={tmp_path}"}
    failed = bksi("catalogue", "import", tmp_path / "gone.json", *options, env=env)
    assert failed.returncode == 1
    first, second = failed.stderr.splitlines()
    assert first == f"{tmp_path / 'gone.json'}: No such file or directory"
    assert second.startswith("BKSI_POSTGRES_DSN (")


def test_command_on_an_empty_database_names_the_remedy(bksi: RunBksi, postgres_dsn: str, tmp_path: Path) -> None:
    (tmp_path / "hosts.json").write_text(json.dumps([host()]))
    failed = bksi("catalogue", "import", tmp_path / "hosts.json", env={"BKSI_POSTGRES_DSN": postgres_dsn})
    assert failed.returncode == 1
    assert "bksi migrate" in failed.stderr


def test_show_counts_businesses_and_opens_a_module(bksi: RunBksi, catalogue_database: str) -> None:
    env = {"BKSI_POSTGRES_DSN": catalogue_database}
    summary = json.loads(bksi("catalogue", "show", "--json", env=env).stdout)
    assert summary["businesses"]["1"]["module"] == 6
    assert summary["businesses"]["2"]["process_template"] == 1
    table = bksi("catalogue", "show", env=env)
    assert (table.returncode, table.stderr) == (0, "")
    shown = json.loads(bksi("catalogue", "show", "--module", "60", "--json", env=env).stdout)
    assert (shown["service_template_name"], [found["id"] for found in shown["process_templates"]]) == ("job", [1])
    assert "job_java 🔒" in bksi("catalogue", "show", "--module", "60", env=env).stdout
    missing = bksi("catalogue", "show", "--module", "9999", env=env)
    assert (missing.returncode, missing.stdout) == (1, "")
    assert "9999" in missing.stderr
