"""What Prometheus is told by a system that works, and what the dashboard makes of it."""

import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml

from deploy.grafana import dashboard
from deploy.prometheus_here import configuration
from devstack.process import Guard
from devstack.prometheus import Prometheus
from devstack.running import RunningStack
from tests.acceptance.calls import bound, run

DEPLOY = Path(__file__).parents[2] / "deploy"
RULES = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text())["groups"][0]["rules"]
NOT_HERE = "needs Prometheus: apt-get install prometheus"


@pytest.fixture(scope="module")
def prometheus(stack: RunningStack, guard: Guard, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """One that has asked server and worker while they did a little of everything."""
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip(NOT_HERE)
    server, *workers = [url.removeprefix("http://").removesuffix("/metrics") for url in stack.metrics]
    asked = configuration({"bksi-server": [server], "bksi-worker": workers})
    for host in (40, 40, 10**9):
        run(stack.http, bound(host))
    for _ in range(2):
        httpx2.post(f"{stack.http}/v1/batches", json=bound(40), headers={"Idempotency-Key": "monitored-17"}, timeout=60)
    httpx2.post(f"{stack.http}/v1/batches", json={"bk_biz_id": 1}, timeout=60)
    directory = tmp_path_factory.mktemp("prometheus")
    with Prometheus(directory, guard, program=Path(program), configuration=asked) as running:
        wait_for(lambda: len(running.query("count_over_time(up[30s]) > 2")) == 2, "Prometheus did not ask thrice")
        yield running


def wait_for(condition: Any, otherwise: str) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.2)


def panels() -> Sequence[Any]:
    return [
        pytest.param(target["expr"], id=f"{panel['title']}: {target['legendFormat']}")
        for panel in json.loads(dashboard.render())["panels"]
        for target in panel["targets"]
    ]


def test_dashboard_is_that_of_its_script() -> None:
    assert dashboard.main(["--check"]) == 0, "run: python -m deploy.grafana.dashboard"


@pytest.mark.parametrize("expression", panels())
def test_panel_shows_something(prometheus: Prometheus, expression: str) -> None:
    # A worker that is busy leaves what it could not read in time out of one answer; the next has it.
    wait_for(lambda: prometheus.query(expression.replace("$__rate_interval", "30s")), "the panel stays empty")


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_alert_looks_at_what_is_there_and_is_silent_while_all_is_well(prometheus: Prometheus, rule: Any) -> None:
    for name in re.findall(r"\b(?:bksi|process)_\w+|\bup\b", rule["expr"]):
        assert prometheus.query(name), name
    # What the tests of this run have done to their system on purpose is no trouble.
    if "increase" not in rule["expr"]:
        assert prometheus.query(rule["expr"]) == []


def test_prometheus_has_loaded_every_rule_and_can_evaluate_it(prometheus: Prometheus) -> None:
    [group] = prometheus.rules()
    assert {rule["name"]: rule["health"] for rule in group["rules"]} == {rule["alert"]: "ok" for rule in RULES}


@pytest.mark.parametrize("arguments", ["check config prometheus.yml", "test rules alerts_test.yml"])
def test_files_that_are_handed_out_pass_promtool(arguments: str) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip(NOT_HERE)
    done = subprocess.run(
        [promtool, *arguments.split()], cwd=DEPLOY / "prometheus", capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_tried_and_says_what_to_do() -> None:
    tried = (DEPLOY / "prometheus" / "alerts_test.yml").read_text()
    guide = (DEPLOY.parent / "docs" / "operations.md").read_text()
    for rule in RULES:
        assert rule["alert"] in tried
        assert f"\n| {rule['alert']} | " in guide
