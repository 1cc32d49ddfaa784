"""`bksi show`: rows as they are stored, for people and for machines."""

import json

import pytest

from tests.conftest import RunBksi, execute

REQUEST_ID = "0123456789abcdef0123456789abcdef"
ROWS = f"""
INSERT INTO service_instance (id, bk_biz_id, bk_module_id, bk_host_id, instance_key, service_template_id, name,
    creator, modifier, bk_supplier_account, request_id)
VALUES (11, 1, 60, 2, '', 1, '10.0.0.2_job_java_80', 'admin', 'admin', '0', '{REQUEST_ID}'),
       (12, 1, 60, 3, '', 1, '[red]not markup[/red]', 'admin', 'admin', '0', '{REQUEST_ID}'),
       (14, 1, 60, 4, 'gone', 1, 'former', 'admin', 'admin', '0', '');
INSERT INTO process (bk_process_id, service_instance_id, bk_biz_id, bk_host_id, process_template_id, bk_process_name,
    bk_func_name, timeout, start_cmd, auto_start, bk_supplier_account, bk_created_by)
VALUES (21, 11, 1, 2, 1, 'job_java', 'java', 30, './start.sh', false, '0', 'admin');
INSERT INTO process_bind_info VALUES (2, 21, 1, '10.0.0.2', '80', '1', true);
INSERT INTO audit_log (request_id, operator, bk_app_code, bk_supplier_account, bk_biz_id, bk_module_id, action,
    created_ids, healed_ids)
VALUES ('{REQUEST_ID}', 'admin', 'bksi', '0', 1, 60, 'create', '{{11}}', '{{12,13}}');
INSERT INTO request_ledger (request_id, bk_app_code, bk_biz_id, bk_module_id, status, code, report, attempt, created_at)
VALUES ('{REQUEST_ID}', 'bksi', 1, 60, 'SUCCEEDED', 0, '{{}}', 1, now());
INSERT INTO cmdb_instance (service_instance_id, cmdb_id, gone_at)
VALUES (11, 72, NULL), (12, 73, '2026-05-06 07:08:09+00'), (14, NULL, '2026-05-06 07:08:09+00');
INSERT INTO cmdb_gone (service_instance_id, bk_process_id, content)
VALUES (11, 22, '{{"bk_process_id": 22, "bk_process_name": "php"}}'),
       (11, 21, '{{"bk_process_id": 21, "template_row_id": 3, "port": "81"}}');
"""


@pytest.fixture
def env(database: str) -> dict[str, str]:
    """A database with two instances that one request left behind."""

    execute(database, ROWS)
    return {"BKSI_POSTGRES_DSN": database, "COLUMNS": "200"}


def test_instance_is_shown_with_processes_and_bind_rows(bksi: RunBksi, env: dict[str, str]) -> None:
    shown = bksi("show", "11", env=env)
    assert (shown.returncode, shown.stderr) == (0, "")
    for text in (
        "Service instance 11 10.0.0.2_job_java_80",
        "host 2",
        "job_java",
        "java",
        "timeout=30",
        "1 TCP",
        "True",
    ):
        assert text in shown.stdout
    assert "user=" not in shown.stdout


def test_nothing_is_cut_off_on_a_narrow_terminal(bksi: RunBksi, env: dict[str, str]) -> None:
    shown = bksi("show", "11", env={**env, "COLUMNS": "60"}).stdout
    assert "job_java" in shown
    assert "…" not in shown


def test_instance_as_json_has_the_shape_of_cmdb(bksi: RunBksi, env: dict[str, str]) -> None:
    instance = json.loads(bksi("show", "11", "--json", env=env).stdout)
    [pair] = instance["process_instances"]
    assert (instance["id"], instance["bk_host_id"], pair["process"]["timeout"]) == (11, 2, 30)
    assert pair["relation"]["process_template_id"] == 1
    assert pair["process"]["bind_info"] == [
        {"template_row_id": 1, "ip": "10.0.0.2", "port": "80", "protocol": "1", "enable": True}
    ]


def test_what_cmdb_has_and_has_no_more_is_told(bksi: RunBksi, env: dict[str, str]) -> None:
    shown = bksi("show", "11", env=env).stdout
    assert "CMDB has it as 72." in shown
    assert "CMDB has no more: process 22 php\n" in shown
    assert "CMDB has no more: bind row 3 of process 21\n" in shown
    shown = bksi("show", "12", env=env).stdout
    assert "Gone: CMDB had it as 73 and lists it no more since 2026-05-06 07:08:09" in shown
    assert "no request finds it" in shown
    assert "does again: as the one that a request has created here anew" in bksi("show", "14", env=env).stdout
    in_cmdb = json.loads(bksi("show", "12", "--json", env=env).stdout)["cmdb"]
    assert (in_cmdb["id"], in_cmdb["gone_at"][:10], in_cmdb["gone"]) == (73, "2026-05-06", [])


def test_request_is_shown_with_all_it_created_and_healed(bksi: RunBksi, env: dict[str, str]) -> None:
    shown = bksi("show", "--request", REQUEST_ID, env=env)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "SUCCEEDED" in shown.stdout
    assert "Service instance 11 10.0.0.2_job_java_80 (created)" in shown.stdout
    assert "Service instance 12 [red]not markup[/red] (healed)" in shown.stdout
    assert "It has no process." in shown.stdout
    assert "1 of its service instances are gone." in shown.stdout
    found = json.loads(bksi("show", "--request", REQUEST_ID, "--json", env=env).stdout)
    assert [instance["id"] for instance in found["service_instances"]] == [11, 12]
    assert found["ledger"]["status"] == "SUCCEEDED"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("999",), 1, "there is no service instance 999"),
        (("--request", "f" * 32), 1, "no request of that id has ended"),
        ((), 2, "either a service instance's id or --request"),
        (("11", "--request", REQUEST_ID), 2, "either a service instance's id or --request"),
        (("0",), 2, "Must be >= 1"),
        (("99999999999999999999",), 2, "Must be <"),
    ],
)
def test_what_cannot_be_shown_is_told(
    bksi: RunBksi, env: dict[str, str], arguments: tuple[str, ...], code: int, message: str
) -> None:
    missing = bksi("show", *arguments, env=env)
    assert (missing.returncode, missing.stdout) == (code, "")
    assert message in missing.stderr
    assert "Traceback" not in missing.stderr
