"""The sample catalogue fits the documented example request."""

import json

import pytest

from contract.request.parse import parse
from devstack import sample
from worker.expand.expand import expand
from worker.expand.plan import PlannedBind
from worker.postgres.catalogue_reads import Catalogue
from worker.postgres.engine import create_engine

pytestmark = pytest.mark.anyio

TEXTS = (
    "description", "user", "start_cmd", "stop_cmd", "restart_cmd", "face_stop_cmd", "reload_cmd", "pid_file",
    "bk_start_param_regex",
)  # fmt: skip


async def test_documented_request_becomes_the_documented_rows(catalogue_database: str) -> None:
    batch = parse(json.loads(sample.REQUEST.read_bytes())).batch
    engine = create_engine(catalogue_database, connections=1)
    try:
        slice_ = await Catalogue(engine, check_ms=0).slice(1, 60, [2])
    finally:
        await engine.dispose()
    plan = expand(slice_, batch, "0" * 32)

    [instance] = plan.instances
    [process] = instance.processes
    assert (plan.refused, plan.service_template_id) == ({}, 1)
    assert (instance.name, instance.bk_host_id) == ("10.0.0.2_job_java_80", 2)
    values = dict(process.values)
    assert {name: values[name] for name in TEXTS} == dict.fromkeys(TEXTS, "")
    expected = {
        "bk_func_name": "java",
        "bk_process_name": "job_java",
        "timeout": 30,
        "priority": 1,
        "proc_num": 1,
        "auto_start": False,
        "work_path": "/data/bkee",
        "bk_start_check_secs": None,
    }
    assert {name: values[name] for name in expected} == expected
    assert process.bind_info == (
        PlannedBind(template_row_id=1234, ip="127.0.0.1", port="80", protocol="1", enable=False),
    )


@pytest.mark.parametrize(
    ("module", "bk_host_ids", "template_ids", "found"),
    [
        ((1, 60), [1, 200, 201], [1], [1, 200, 201]),
        ((1, 61), [1, 200], [], [1, 200]),
        ((1, 62), [1, 200], [2, 3], [1, 200]),
        ((1, 63), [204, 1], [], [204]),
        ((1, 64), [201, 202], [5], [201, 202]),
        ((1, 65), [203], [], [203]),
        ((2, 80), [301], [4], [301]),
        ((1, 60), [401, 301, 9999], [1], []),
    ],
)
async def test_modules_hold_what_the_readme_of_the_sample_says(
    catalogue_database: str,
    module: tuple[int, int],
    bk_host_ids: list[int],
    template_ids: list[int],
    found: list[int],
) -> None:
    engine = create_engine(catalogue_database, connections=1)
    try:
        slice_ = await Catalogue(engine, check_ms=0).slice(*module, bk_host_ids)
    finally:
        await engine.dispose()
    assert slice_.module is not None
    assert (slice_.module.bk_biz_id, slice_.module.bk_module_id) == module
    assert [template.id for template in slice_.process_templates] == template_ids
    assert sorted(slice_.hosts) == sorted(found)
