"""An operator's days with docker-compose.yml, in order: each test finds the system as the one before has left it."""

import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2

from devstack import sample
from tests.containers.conftest import System

SEED: dict[str, Any] = json.loads(sample.REQUEST.read_bytes())
_CREDENTIALS = ("bk_app_code", "bk_app_secret", "bk_username", "bk_token")
BATCH = {name: value for name, value in SEED.items() if name not in _CREDENTIALS}
"""What v1 takes: who calls stands in the header, and in one place only."""
MIGRATE = "run --rm migrate"
BACKUP = "exec -T postgres pg_dump --username postgres --format custom bksi"
RESTORE = "exec -T postgres pg_restore --username postgres --dbname bksi --no-owner --role bksi --exit-on-error"
ESB = "/api/c/compapi/v2/cc/create_service_instance/"


def full_batch(number: int) -> dict[str, Any]:
    """100 instances that no other number has, in the module without a template."""
    info = {"bk_process_name": f"agent-{number}", "bk_func_name": "agent"}
    return {
        "bk_biz_id": 1,
        "bk_module_id": 61,
        "instances": [
            {
                "bk_host_id": host,
                "service_instance_name": f"agent-{number}",
                "processes": [{"process_template_id": 0, "process_info": info}],
            }
            for host in range(1, 101)
        ],
    }


def findings(system: System) -> dict[str, dict[str, str]]:
    """What `doctor` says in a worker's container, by check."""
    said = system.attempt("exec", "-T", "worker", "bksi", "doctor", "--json", "--flower", "http://flower:5555")
    document = json.loads(said.stdout)
    assert (said.returncode, document["ok"]) == (0, True), said.stdout + said.stderr
    return {finding["check"]: finding for finding in document["findings"]}


def test_documented_request_is_answered_with_its_row(system: System) -> None:
    answer = system.call(ESB, SEED).json()

    assert (answer["result"], answer["code"], len(answer["data"])) == (True, 0, 1)
    [instance] = answer["data"]
    shown = system.compose("exec", "-T", "worker", "bksi", "show", str(instance))
    assert "10.0.0.2_job_java_80" in shown


def test_flower_shows_it_to_whoever_has_the_password_only(system: System) -> None:
    request_id = system.post("/v1/batches", BATCH).json()["request_id"]
    system.finish(request_id)
    page = f"{system.flower}/api/task/info/{request_id}"

    assert httpx2.get(page, timeout=60).status_code == 401
    operator = ("admin", system.variables["FLOWER_PASSWORD"])
    while (answer := httpx2.get(page, auth=operator, timeout=60)).status_code == 404:
        # It hears of a task a moment after the caller does.
        assert "Failed to capture events" not in system.compose("logs", "flower")
    assert answer.json()["state"] == "SUCCESS"
    assert "biz=1 module=60 instances=1" in answer.json()["args"]


def test_doctor_finds_nothing_to_mend_but_tls(system: System) -> None:
    found = findings(system)

    warnings = {check for check, finding in found.items() if finding["level"] == "warning"}
    assert warnings <= {"redis TLS", "postgres TLS"}
    assert found["postgres user"]["found"] == "no superuser"
    assert found["flower"]["level"] == "ok"


def test_no_container_runs_as_root_or_logs_a_password(system: System) -> None:
    logs = system.compose("logs", "--no-color")

    assert "superuser privileges" not in logs
    for name, value in system.variables.items():
        assert not name.endswith("_PASSWORD") or value not in logs
    assert system.app_secret not in logs
    for service in ("postgres", "redis", "worker", "shim", "flower"):
        assert system.compose("exec", "-T", service, "sh", "-c", "id -u").strip() != "0"


def test_standard_library_is_compiled_once_for_every_start(system: System) -> None:
    system.compose("exec", "-T", "worker", "python", "-c", "import asyncio, os; os.stat(asyncio.__cached__)")


def test_worker_killed_in_mid_work_loses_nothing_and_doubles_nothing(system: System) -> None:
    accepted = [system.post("/v1/batches", full_batch(number)).json()["request_id"] for number in range(20)]
    # The first has ended, so the worker is at work on the others.
    assert system.finish(accepted[0])["status"] == "SUCCESS"

    system.compose("kill", "-s", "KILL", "worker")
    system.up("worker")

    ids = [instance for request_id in accepted for instance in system.finish(request_id)["data"]]
    assert len(ids) == len(set(ids)) == 2_000


def test_everything_is_stopped_and_started_and_remembers(system: System) -> None:
    system.compose("stop", "--timeout", "30", "worker")
    waiting = system.post("/v1/batches", full_batch(100)).json()["request_id"]

    system.compose("stop", "--timeout", "60")
    system.up()

    assert system.finish(waiting)["status"] == "SUCCESS"


def test_workers_are_scaled_to_three(system: System) -> None:
    replace(system, variables={**system.variables, "BKSI_WORKERS": "3"}).up("--no-recreate")
    numbers = range(200, 220)
    accepted = [system.post("/v1/batches", full_batch(number)).json()["request_id"] for number in numbers]

    assert {system.finish(request_id)["status"] for request_id in accepted} == {"SUCCESS"}
    assert re.match(r"3 ", findings(system)["workers"]["found"])


def test_prometheus_finds_every_server_and_worker_and_has_the_alerts(system: System) -> None:
    """Grafana beside it has no stand-in."""

    def ask(what: str) -> Any:
        return httpx2.get(f"{system.prometheus}/api/v1/{what}", timeout=60).json()["data"]

    system.compose("--profile", "monitoring", "up", "--detach", "--no-build", "--no-deps", "prometheus")
    system.wait_until_healthy("prometheus")
    while len(up := ask("query?query=up==1")["result"]) < 4:
        # It looks for them, and asks them, every fifteen seconds.
        assert system.compose("ps", "--quiet", "prometheus")
    assert Counter(one["metric"]["job"] for one in up) == {"bksi-server": 1, "bksi-worker": 3}
    assert len(ask("rules")["groups"][0]["rules"]) > 0
    system.compose("--profile", "monitoring", "rm", "--stop", "--force", "prometheus")


def test_migration_that_has_run_runs_again_without_harm(system: System) -> None:
    system.compose(*MIGRATE.split())
    assert findings(system)["migrations"]["level"] == "ok"


def back_up(system: System, dump: Path) -> None:
    """With the command of docs/operations.md."""
    with dump.open("wb") as file:
        system.pipe(BACKUP.split(), stdout=file)


def restore(system: System, dump: Path) -> None:
    """Start on an empty database, with the commands of docs/operations.md."""
    system.compose("up", "--detach", "--no-build", "postgres")
    system.wait_until_healthy("postgres")
    with dump.open("rb") as file:
        system.pipe(RESTORE.split(), stdin=file)
    system.up()


def test_new_major_version_of_postgres_begins_with_all_that_the_old_one_had(system: System, tmp_path: Path) -> None:
    """It is the old version in truth: the name of the directory decides."""
    system.compose("stop", "worker")
    waiting = system.post("/v1/batches", full_batch(300)).json()["request_id"]
    back_up(system, tmp_path / "bksi.dump")

    system.compose("down")
    newer = replace(system, variables={**system.variables, "POSTGRES_MAJOR": "next"})
    restore(newer, tmp_path / "bksi.dump")

    assert system.finish(waiting)["status"] == "SUCCESS"
    [known] = system.finish(system.post("/v1/batches", BATCH).json()["request_id"])["items"]
    assert known["outcome"] == "existing"
    both = {system.variables["POSTGRES_MAJOR"], "next"}
    assert both <= set(newer.compose("exec", "-T", "postgres", "ls", "/var/lib/postgresql").split())


def test_dump_is_restored_into_empty_volumes_and_answers_what_had_ended(system: System, tmp_path: Path) -> None:
    request_id = system.post("/v1/batches", BATCH).json()["request_id"]
    report = system.finish(request_id)
    back_up(system, tmp_path / "bksi.dump")

    system.compose("down", "--volumes")
    restore(system, tmp_path / "bksi.dump")

    # Redis is empty: PostgreSQL's ledger answers.
    assert system.finish(request_id)["data"] == report["data"]
    assert system.call(ESB, SEED).json()["data"] == report["data"]
