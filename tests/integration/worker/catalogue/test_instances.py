"""`bksi catalogue import|pull --instances`: what CMDB has is known here under CMDB's ids, and requests find it."""

import asyncio
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from chaos.cmdb.exchange import Call, Reply, refusal
from contract.answer.status import Item, Outcome
from contract.settings import Settings
from tests.conftest import RunBksi
from tests.integration.worker.catalogue.cmdb_server import CmdbServer
from tests.integration.worker.catalogue.conftest import rows
from tests.integration.worker.postgres.plans import bind, fetch, plan, process, request
from tests.unit.worker.catalogue.cmdb_items import bind_row, envelope, process_instance, service_instance
from worker.catalogue.answers import listed
from worker.catalogue.cmdb import Cmdb
from worker.catalogue.instance_import import import_instances
from worker.catalogue.instance_pull import LIMIT, pull_instances
from worker.catalogue.instance_report import InstanceReport
from worker.commands.doctor.examine import examine
from worker.commands.doctor.finding import Finding, Level
from worker.postgres.ids import ROOM
from worker.postgres.writer import Writer

pytestmark = pytest.mark.anyio
TABLES = ("service_instance", "process", "process_bind_info", "cmdb_instance", "cmdb_process")


async def pulled(engine: AsyncEngine, cmdb: CmdbServer, **options: Any) -> InstanceReport:
    with Cmdb(cmdb.url) as client:
        return await pull_instances(engine, client, 1, **options)


async def imported(engine: AsyncEngine, *items: Any, prune: bool = False) -> InstanceReport:
    answer = listed(envelope(*items), "file.json")
    return await import_instances(engine, [answer], first_id=1, prune=prune)


async def written(writer: Writer, *hosts: int, **changes: Any) -> Sequence[Item]:
    """The items of a request for template 7's one process on these hosts, as the sample CMDB has it."""
    processes = changes.pop("processes", [nginx()])
    keys = changes.pop("keys", None)
    report = (await writer.write(request(plan(hosts, processes, template=5, keys=keys), **changes))).report
    assert report is not None
    return report.items


def nginx(**values: Any) -> Any:
    made = process(7, (bind(1, "80"),), bk_process_name="nginx", bk_func_name="nginx", bk_start_param_regex="")
    return made if not values else type(made)(7, {**made.values, **values}, made.bind_info, 0)


async def test_what_cmdb_has_is_found_under_its_id_and_nothing_is_doubled(
    cmdb: CmdbServer, engine: AsyncEngine
) -> None:
    cmdb.instances = [service_instance(72, 2), service_instance(73, 3)]
    report = await pulled(engine, cmdb)
    assert report.instances == {"added": 2, "changed": 0, "unchanged": 0}
    one, other, new = await written(Writer(engine), 2, 3, 4)
    assert [one["service_instance_id"], other["service_instance_id"]] == [72, 73]
    assert [item["outcome"] for item in (one, other, new)] == [Outcome.EXISTING, Outcome.EXISTING, Outcome.CREATED]
    assert one["processes"][0]["bk_process_id"] == 720
    assert one["warnings"], "CMDB's process has null where the plan has a value, and the item says so"
    assert new["service_instance_id"] is not None
    assert new["service_instance_id"] >= 730 + ROOM


async def test_the_same_again_changes_nothing(cmdb: CmdbServer, engine: AsyncEngine, database: str) -> None:
    cmdb.instances = [service_instance(id_, id_) for id_ in range(1, 30)]
    await pulled(engine, cmdb)
    before = await rows(database, *TABLES)
    report = await pulled(engine, cmdb)
    assert report.instances == {"added": 0, "changed": 0, "unchanged": 29}
    assert (report.processes, report.bind_rows) == ({"added": 0, "changed": 0, "gone": 0}, {"written": 0, "gone": 0})
    assert await rows(database, *TABLES) == before


async def test_what_is_missing_is_healed_and_survives_the_next_pull(
    cmdb: CmdbServer, engine: AsyncEngine, database: str
) -> None:
    """What was added here is not in CMDB yet, and for that reason not gone."""
    cmdb.instances = [service_instance(72, 2)]
    await pulled(engine, cmdb)
    two = process(8, (bind(1, "90"),), bk_process_name="php", bk_func_name="php")
    more = type(nginx())(7, nginx().values, (*nginx().bind_info, bind(2, "81")), 0)
    (item,) = await written(Writer(engine), 2, processes=[more, two])
    assert (item["outcome"], item["service_instance_id"]) == (Outcome.HEALED, 72)
    before = await rows(database, "process_bind_info", "process")
    report = await pulled(engine, cmdb)
    assert (report.processes["gone"], report.bind_rows["gone"], report.gone) == (0, 0, [])
    assert await rows(database, "process_bind_info", "process") == before


async def test_what_cmdb_has_no_more_is_kept_and_marked_and_does_not_exist(
    cmdb: CmdbServer, engine: AsyncEngine
) -> None:
    cmdb.instances = [service_instance(72, 2), service_instance(73, 3)]
    await pulled(engine, cmdb)
    await written(Writer(engine), 4)
    del cmdb.instances[0]
    report = await pulled(engine, cmdb)
    assert report.gone == [(72, 72)]
    assert await fetch(engine, "SELECT count(*) FROM service_instance WHERE id = 72") == [(1,)]
    items = await written(Writer(engine), 2, 3, 4)
    assert [item["outcome"] for item in items] == [Outcome.CREATED, Outcome.EXISTING, Outcome.EXISTING]


async def test_what_one_list_left_out_is_back_with_the_next(cmdb: CmdbServer, engine: AsyncEngine) -> None:
    cmdb.instances = [service_instance(72, 2), service_instance(73, 3)]
    await pulled(engine, cmdb)
    one = cmdb.instances.pop(0)
    assert (await pulled(engine, cmdb)).gone == [(72, 72)]
    cmdb.instances.insert(0, one)
    report = await pulled(engine, cmdb)
    assert (report.returned, report.matched, report.gone) == ([(72, 72, 72)], [], [])
    (item,) = await written(Writer(engine), 2)
    assert (item["service_instance_id"], item["outcome"]) == (72, Outcome.EXISTING)


@pytest.mark.parametrize("name", ["", "web"])
async def test_what_was_created_anew_and_is_back_in_cmdb_is_one(
    cmdb: CmdbServer, engine: AsyncEngine, database: str, name: str
) -> None:
    """The one that the request was given stays; the former is marked as gone, and the report says so."""
    cmdb.instances = [service_instance(72, 2, "web", service_template_id=0) if name else service_instance(72, 2)]
    await pulled(engine, cmdb)
    there = cmdb.instances
    cmdb.instances = []
    await pulled(engine, cmdb)
    (item,) = await written(Writer(engine), 2, keys=[name])
    assert item["outcome"] == Outcome.CREATED
    cmdb.instances = [*there, service_instance(75, 5)]

    report = await pulled(engine, cmdb)
    anew = item["service_instance_id"]
    assert report.returned == [(anew, 72, 72)]
    assert (report.twins, report.matched, report.gone, report.left_out) == ([], [], [], [])
    assert report.as_dict()["returned"] == [{"id": anew, "cmdb_id": 72, "former_id": 72}]
    links = "SELECT service_instance_id, cmdb_id, gone_at IS NOT NULL FROM cmdb_instance ORDER BY 1"
    assert await fetch(engine, links) == [(72, None, True), (75, 75, False), (anew, 72, False)]
    before = await rows(database, *TABLES)
    again = await pulled(engine, cmdb)
    assert (again.instances["unchanged"], again.gone, again.returned) == (2, [], [])
    assert await rows(database, *TABLES) == before
    (item,) = await written(Writer(engine), 2, keys=[name])
    assert (item["service_instance_id"], item["outcome"]) == (anew, Outcome.EXISTING)
    cmdb.instances = []
    assert sorted((await pulled(engine, cmdb)).gone) == [(75, 75), (anew, 72)]


async def test_a_host_that_came_back_has_what_cmdb_says(cmdb: CmdbServer, engine: AsyncEngine) -> None:
    cmdb.instances = [service_instance(72, 2)]
    await pulled(engine, cmdb)
    cmdb.instances = []
    await pulled(engine, cmdb)
    cmdb.instances = [service_instance(90, 2, process_instances=[process_instance(900, 90, timeout=77)])]
    await pulled(engine, cmdb)
    (item,) = await written(Writer(engine), 2, processes=[nginx(timeout=77)])
    assert (item["service_instance_id"], item["outcome"]) == (90, Outcome.EXISTING)


async def test_values_order_and_removals_are_cmdbs(cmdb: CmdbServer, engine: AsyncEngine) -> None:
    ports = [bind_row(9, "9"), bind_row(1, "1"), bind_row(0, "2"), bind_row(9, "3")]
    processes = [process_instance(720, 72, bind_info=ports), process_instance(721, 72, "php", 8)]
    cmdb.instances = [service_instance(72, 2, process_instances=processes)]
    await pulled(engine, cmdb)
    order = "SELECT port, template_row_id FROM process_bind_info WHERE bk_process_id = 720 ORDER BY position"
    assert await fetch(engine, order) == [("9", 9), ("1", 1), ("2", 10), ("3", 11)]
    processes[:] = [process_instance(720, 72, "httpd", bind_info=ports[:1], user="www", bk_func_name="httpd")]
    report = await pulled(engine, cmdb)
    assert (report.processes, report.bind_rows) == ({"added": 0, "changed": 1, "gone": 1}, {"written": 1, "gone": 3})
    assert await fetch(engine, order) == [("9", 9)]
    assert await fetch(engine, 'SELECT bk_process_name, "user" FROM process') == [("httpd", "www")]
    kept = await fetch(engine, "SELECT bk_process_id, content->>'bk_process_name' FROM cmdb_gone ORDER BY 1, 2")
    assert kept == [(720, None), (720, None), (720, None), (721, "php")]


async def test_two_under_one_key_are_both_kept_and_named(cmdb: CmdbServer, engine: AsyncEngine) -> None:
    cmdb.instances = [service_instance(72, 2), service_instance(75, 2), service_instance(80, 2, service_template_id=0)]
    for _ in range(2):
        report = await pulled(engine, cmdb)
        assert report.twins == [(72, 75)]
    (item,) = await written(Writer(engine), 2)
    assert item["service_instance_id"] == 72
    del cmdb.instances[0]
    await pulled(engine, cmdb)
    await pulled(engine, cmdb)
    (item,) = await written(Writer(engine), 2)
    assert item["service_instance_id"] == 75


async def test_unbound_instances_are_found_by_their_name(cmdb: CmdbServer, engine: AsyncEngine) -> None:
    cmdb.instances = [service_instance(72, 2, "web", service_template_id=0)]
    cmdb.instances[0]["process_instances"][0]["relation"]["process_template_id"] = 0
    await pulled(engine, cmdb)
    (item,) = await written(Writer(engine), 2, keys=["web"], processes=[nginx()])
    assert item["service_instance_id"] == 72


async def test_what_both_sides_created_is_one(cmdb: CmdbServer, engine: AsyncEngine) -> None:
    (created,) = await written(Writer(engine), 2)
    cmdb.instances = [service_instance(72, 2)]
    report = await pulled(engine, cmdb)
    assert report.matched == [(created["service_instance_id"], 72)]
    (item,) = await written(Writer(engine), 2)
    assert (item["service_instance_id"], item["outcome"]) == (created["service_instance_id"], Outcome.EXISTING)
    cmdb.instances = []
    assert (await pulled(engine, cmdb)).gone == [(created["service_instance_id"], 72)]


async def test_ids_in_use_here_are_no_obstacle(cmdb: CmdbServer, engine: AsyncEngine) -> None:
    (created,) = await written(Writer(engine), 9)
    assert created["service_instance_id"] == 1
    cmdb.instances = [service_instance(1, 2), service_instance(2, 3)]
    report = await pulled(engine, cmdb)
    ((cmdb_id, id_),) = report.moved
    assert cmdb_id == 1
    assert id_ > ROOM
    items = await written(Writer(engine), 2, 3, 9)
    assert [item["service_instance_id"] for item in items] == [id_, 2, 1]


async def test_import_races_workers_that_hold_reserved_ids(cmdb: CmdbServer, engine: AsyncEngine) -> None:
    writers = [Writer(engine) for _ in range(3)]
    for number, writer in enumerate(writers):
        await written(writer, 10_000 + number)
    cmdb.instances = [service_instance(id_, id_) for id_ in range(2, 3_000, 3)]

    async def write(writer: Writer, first: int) -> None:
        for host in range(first, first + 300, 10):
            await written(writer, *range(host, host + 10))

    hosts = (20_000, 30_000, 40_000)
    report, *_ = await asyncio.gather(pulled(engine, cmdb), *map(write, writers, hosts))
    assert report.instances["added"] == 1_000
    assert await fetch(engine, "SELECT count(*) FROM service_instance") == [(3 + 1_000 + 900,)]
    assert await fetch(engine, "SELECT count(*) FROM process") == [(3 + 1_000 + 900,)]
    assert await fetch(engine, "SELECT count(*) FROM cmdb_instance") == [(1_000,)]
    assert not report.left_out


async def test_first_id_holds_for_a_worker_and_never_goes_down(engine: AsyncEngine) -> None:
    (before,) = await written(Writer(engine), 1)
    (far,) = await written(Writer(engine, first_id=10**12), 2)
    (near,) = await written(Writer(engine, first_id=5_000), 3)
    ids = [item["service_instance_id"] or 0 for item in (before, far, near)]
    assert ids[0] < 10**12 <= ids[1] < ids[2]


async def test_a_listing_that_moves_up_is_read_without_a_gap(cmdb: CmdbServer, engine: AsyncEngine) -> None:
    cmdb.instances = [service_instance(id_, id_) for id_ in range(1, 2 * LIMIT + 100)]

    def remove(call: Call) -> Reply | None:
        if call.start == LIMIT - 1 and len(cmdb.instances) == 2 * LIMIT + 99:
            del cmdb.instances[:50]
        return None

    cmdb.before = remove
    await pulled(engine, cmdb)
    assert await fetch(engine, "SELECT count(*) FROM cmdb_instance") == [(2 * LIMIT + 99,)]
    report = await pulled(engine, cmdb)
    assert len(report.gone) == 50


async def test_an_interrupted_pull_goes_on_where_it_was(
    bksi: RunBksi, cmdb: CmdbServer, database: str, tmp_path: Path
) -> None:
    cmdb.fill(templates=1, modules=2, hosts=3, hosts_per_module=1)
    cmdb.instances = [service_instance(id_, id_) for id_ in range(1, 2 * LIMIT + 100)]
    cmdb.before = lambda call: refusal(9900403, "no") if call.start > LIMIT else None
    env = {"BKSI_POSTGRES_DSN": database, "BKSI_STATE_DIR": str(tmp_path)}
    arguments = ("catalogue", "pull", "--instances", "--url", cmdb.url, "--biz", "1", "--json")
    stopped = bksi(*arguments, env=env)
    assert stopped.returncode == 1
    assert "9900403" in stopped.stderr
    assert "Traceback" not in stopped.stderr
    cmdb.calls.clear()
    cmdb.before = lambda call: None
    done = bksi(*arguments, env=env)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["instances"]["service_instances"]["added"] == 100
    asked = [call.start for call in cmdb.calls if call.api == "list_service_instance_detail"]
    assert asked == [2 * LIMIT - 2]


async def test_old_data_that_breaks_todays_rules_is_left_out_at_the_smallest_place(engine: AsyncEngine) -> None:
    odd = process_instance(720, 72, timeout=0, proc_num=20_000, bind_info=[bind_row(1, "80,81,8000-9000"), bind_row(2)])
    nameless = process_instance(721, 72, name="", template_id=8)
    twin = process_instance(722, 72, "nginx", 9)
    report = await imported(
        engine, service_instance(72, 2, process_instances=[odd, nameless, twin]), {"id": 73, "bk_biz_id": "1"}
    )
    assert report.left_out == [
        "file.json: data.info[0].process_instances[0].proc_num: cannot be stored and is kept as null",
        "file.json: data.info[0].process_instances[0].bind_info[0]: cannot be stored and is left out",
        "file.json: data.info[0].process_instances[1].bk_process_name: required",
        "file.json: data.info[1].bk_biz_id: not an id",
        "process 722: another process of the instance has the same bk_process_name",
    ]
    assert await fetch(engine, "SELECT bk_process_id, timeout FROM process") == [(720, None)]
    assert await fetch(engine, "SELECT template_row_id FROM process_bind_info") == [(2,)]


async def test_files_of_three_apis_make_one_instance(bksi: RunBksi, database: str, tmp_path: Path) -> None:
    instance = service_instance(72, 2)
    (pair,) = instance.pop("process_instances")
    files = [tmp_path / "instances.json", tmp_path / "processes.json"]
    files[0].write_text(json.dumps(envelope(instance)))
    one = {"property": pair["process"], "relation": pair["relation"]}
    files[1].write_text(json.dumps({"result": True, "code": 0, "data": [one]}))
    done = bksi("catalogue", "import", "--instances", "--prune", *files, env={"BKSI_POSTGRES_DSN": database})
    assert done.returncode == 0, done.stdout
    found = await rows(database, "service_instance", "process")
    assert [found["service_instance"][0][0], found["process"][0][0]] == [72, 720]
    files[0].write_text(json.dumps(envelope(service_instance(80, 3))))
    again = ("catalogue", "import", "--instances", "--prune", files[0], "--json")
    os.utime(files[0], (0, 0))
    done = bksi(*again, env={"BKSI_POSTGRES_DSN": database})
    assert json.loads(done.stdout)["gone"] == [], "a file that is older than the link does not know of it"
    os.utime(files[0])
    done = bksi(*again, env={"BKSI_POSTGRES_DSN": database})
    assert json.loads(done.stdout)["gone"] == [{"id": 72, "cmdb_id": 72}]


async def test_doctor_says_when_cmdbs_ids_come_near(
    cmdb: CmdbServer, engine: AsyncEngine, database: str, redis_url: str
) -> None:
    async def ids() -> Finding:
        findings = await examine(Settings(redis_url=redis_url, postgres_dsn=database))
        return next(finding for finding in findings if finding.check == "ids")

    cmdb.instances = [service_instance(72, 2)]
    await pulled(engine, cmdb, first_id=10**9)
    assert (await ids()).level is Level.OK
    cmdb.instances.append(service_instance(60_000_000, 3))
    await pulled(engine, cmdb, first_id=10**9)
    assert (await ids()).level is Level.WARNING
