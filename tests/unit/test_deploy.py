"""What deploy/ and docs/operations.md name is there."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from contract.settings import Settings

ROOT = Path(__file__).parents[2]
KUBERNETES = ROOT / "deploy" / "kubernetes"
KUSTOMIZATION = yaml.safe_load((KUBERNETES / "kustomization.yaml").read_text())
OBJECTS: list[dict[str, Any]] = [
    item for name in KUSTOMIZATION["resources"] for item in yaml.safe_load_all((KUBERNETES / name).read_text())
]
PODS = {item["metadata"]["name"]: item["spec"]["template"] for item in OBJECTS if item["kind"] in ("Deployment", "Job")}
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()


def test_every_manifest_is_listed() -> None:
    assert {path.name for path in KUBERNETES.glob("*.yaml")} == {"kustomization.yaml", *KUSTOMIZATION["resources"]}


@pytest.mark.parametrize("name", PODS)
def test_pod_is_not_root_and_gains_nothing(name: str) -> None:
    pod = PODS[name]["spec"]
    [container] = pod["containers"]
    assert container["image"] == KUSTOMIZATION["images"][0]["name"]
    assert pod["automountServiceAccountToken"] is False
    # Else kubelet sets BKSI_SERVER_PORT and the like, which doctor takes for misspelt settings.
    assert pod["enableServiceLinks"] is False
    assert (pod["securityContext"]["runAsNonRoot"], pod["securityContext"]["runAsUser"]) == (True, 10001)
    assert container["securityContext"] == {
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }


def test_what_stops_has_the_time_it_takes() -> None:
    for name in ("bksi-worker", "bksi-server"):
        assert PODS[name]["spec"]["terminationGracePeriodSeconds"] == 60


@pytest.mark.parametrize("name", PODS)
def test_authority_that_the_secrets_urls_name_is_mounted(name: str) -> None:
    """PostgreSQL's certificate is checked against no other: without the file no pod would get anywhere."""
    [path] = set(re.findall(r"(?:sslrootcert|ssl_ca_certs)=([^'&]+)", (KUBERNETES / "settings.yaml").read_text()))
    pod = PODS[name]["spec"]
    [mount] = [one["name"] for one in pod["containers"][0]["volumeMounts"] if path.startswith(f"{one['mountPath']}/")]
    [secret] = [volume["secret"] for volume in pod["volumes"] if volume["name"] == mount]
    assert [item["path"] for item in secret["items"]] == [Path(path).name]
    assert secret["optional"] is True


def test_worker_of_systemd_is_started_though_the_first_migration_finds_no_database() -> None:
    """What a unit requires and does not get is a failed start, which Restart= does not repeat."""
    migrate, worker = (
        (ROOT / "deploy" / "systemd" / f"bksi-{name}.service").read_text() for name in ("migrate", "worker@")
    )
    assert "\nRestart=on-failure\n" in migrate
    assert "\nRequires=" not in worker
    assert all(re.search(rf"^{when}=.*\bbksi-migrate.service$", worker, re.MULTILINE) for when in ("Wants", "After"))


def test_selectors_find_their_pods() -> None:
    labels = [pod["metadata"]["labels"] for pod in PODS.values()]
    for item in OBJECTS:
        selector = item["spec"].get("selector", {}) if item["kind"] != "ConfigMap" else {}
        if selector:
            assert selector.get("matchLabels", selector) in labels, item["metadata"]["name"]


def test_worker_is_asked_for_its_health_as_in_compose() -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["worker"]["healthcheck"]["test"]
    [container] = PODS["bksi-worker"]["spec"]["containers"]
    assert container["readinessProbe"]["exec"]["command"] == compose[1:]


def test_workers_are_scaled_by_a_metric_that_servers_have() -> None:
    [scaler] = [item["spec"] for item in OBJECTS if item["kind"] == "HorizontalPodAutoscaler"]
    [metric] = [one["external"]["metric"]["name"] for one in scaler["metrics"]]
    autoscale = KUBERNETES / "autoscale"
    [rule] = yaml.safe_load((autoscale / "adapter-rules.yaml").read_text())
    keda = yaml.safe_load((autoscale / "keda.yaml").read_text())["spec"]
    [trigger] = keda["triggers"]
    assert rule["name"]["as"] == metric
    assert rule["metricsQuery"] == trigger["metadata"]["query"] == f"max({metric})"
    assert f"| `{metric}` | gauge |" in (ROOT / "docs" / "metrics.md").read_text()
    assert (keda["minReplicaCount"], keda["maxReplicaCount"]) == (scaler["minReplicas"], scaler["maxReplicas"])


def test_settings_that_are_named_exist() -> None:
    files = (path for path in (ROOT / "deploy").rglob("*.*") if path.suffix != ".pyc")
    texts = [OPERATIONS, *(path.read_text() for path in files)]
    named = {name for text in texts for name in re.findall(r"\bBKSI_([A-Z_]+[A-Z])\b", text)}
    assert named - {"PUBLISH", "IMAGE", "WORKERS", "SERVERS"} <= {name.upper() for name in Settings.model_fields}


def test_files_that_operations_links_exist() -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", OPERATIONS)
    assert links
    assert [link for link in links if not (ROOT / "docs" / link).exists()] == []


def test_migration_backup_and_restore_are_those_that_the_containers_are_tested_with() -> None:
    tested = (ROOT / "tests" / "containers" / "test_containers.py").read_text()
    for command in re.findall(r'^(?:BACKUP|RESTORE|MIGRATE) = "(.*)"', tested, re.M):
        assert re.search(rf"docker compose {re.escape(command)}\b", OPERATIONS)
