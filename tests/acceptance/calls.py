"""What an acceptance test does to a running stack: post, poll, count rows, ask Flower."""

import asyncio
import json
from copy import deepcopy
from typing import Any

import httpx2

from devstack import sample
from devstack.sql import fetch

SEED_BYTES = sample.REQUEST.read_bytes()
SEED: dict[str, Any] = json.loads(SEED_BYTES)
ESB = "/api/c/compapi/v2/cc/create_service_instance/"
COMPAT_PATHS = (
    ESB,
    "/api/c/compapi/v2/cc/create_service_instance",
    "/api/c/compapi/cc/create_service_instance/",
    "/api/c/compapi/cc/create_service_instance",
    "/api/v3/create/proc/service_instance",
)
SIX_KEYS = ["result", "code", "message", "permission", "request_id", "data"]
JSON = {"Content-Type": "application/json"}


def bound(host: int, *, module: int = 60, process: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """A batch of one instance in a module with a service template."""
    processes = [] if process is None else [{"process_template_id": 1, "process_info": process}]
    return {
        "bk_biz_id": 1,
        "bk_module_id": module,
        "instances": [{"bk_host_id": host, "processes": processes}],
        **more,
    }


def unbound(host: int, name: str = "nginx", port: str = "80", **more: Any) -> dict[str, Any]:
    """A batch of one instance with one process in module 61, which has no service template."""
    info = {
        "bk_process_name": name,
        "bk_func_name": name,
        "bind_info": [{"ip": "127.0.0.1", "port": port, "protocol": "1", "enable": True, "template_row_id": 1}],
    }
    processes = [{"process_template_id": 0, "process_info": info}]
    return {
        "bk_biz_id": 1,
        "bk_module_id": 61,
        "instances": [{"bk_host_id": host, "processes": deepcopy(processes)}],
        **more,
    }


def compat(http: str, body: dict[str, Any] | bytes, path: str = ESB) -> dict[str, Any]:
    """The envelope a compat path answers; always HTTP 200."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    response = httpx2.post(http + path, content=content, headers=JSON, timeout=60)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def submit(http: str, body: dict[str, Any], **headers: str) -> httpx2.Response:
    """What `POST /v1/batches` answers."""
    return httpx2.post(http + "/v1/batches", content=json.dumps(body), headers=JSON | headers, timeout=60)


def finish(http: str, request_id: str) -> dict[str, Any]:
    """Poll until the request has ended."""
    while True:
        response = httpx2.get(f"{http}/v1/batches/{request_id}", headers={"Prefer": "wait=20"}, timeout=60)
        assert response.status_code == 200, response.text
        report: dict[str, Any] = response.json()
        if report["status"] not in ("PENDING", "RUNNING"):
            return report


def run(http: str, body: dict[str, Any]) -> dict[str, Any]:
    """Submit on v1 and poll to the end."""
    response = submit(http, body)
    assert response.status_code == 202, response.text
    return finish(http, response.json()["request_id"])


def rows(dsn: str, sql: str, *args: object) -> list[dict[str, Any]]:
    """What a query answers."""
    return list(map(dict, asyncio.run(fetch(dsn, sql, *args))))


def count_rows(dsn: str) -> dict[str, int]:
    """How many rows each table of the product holds."""
    tables = ("service_instance", "process", "process_bind_info", "audit_log")
    return {table: rows(dsn, f"SELECT count(*) AS n FROM {table}")[0]["n"] for table in tables}


def instance_rows(dsn: str, service_instance_id: int) -> dict[str, Any]:
    """One service instance with its processes and their bind rows, in id order."""
    [instance] = rows(dsn, "SELECT * FROM service_instance WHERE id = $1", service_instance_id)
    processes = rows(
        dsn, "SELECT * FROM process WHERE service_instance_id = $1 ORDER BY bk_process_id", service_instance_id
    )
    for process in processes:
        process["bind_info"] = rows(
            dsn,
            "SELECT template_row_id, ip, port, protocol, enable FROM process_bind_info WHERE bk_process_id = $1"
            " ORDER BY template_row_id",
            process["bk_process_id"],
        )
    return {**instance, "processes": processes}
