"""Submit the documented example request on both paths, and show everything that came of it."""

import asyncio
import time
from typing import Any

import httpx2
from rich.console import Console
from rich.table import Table

from devstack import sample
from devstack.data_directory import Addresses
from devstack.sql import fetch

ESB_PATH = "/api/c/compapi/v2/cc/create_service_instance/"
TIMEOUT_S = 60.0
"""How long a request, and Flower's news of it, may take."""

# The rows of one service instance, by table.
ROWS = {
    "service_instance": "SELECT id, name, bk_biz_id, bk_module_id, bk_host_id, service_template_id, creator"
    " FROM service_instance WHERE id = $1",
    "process": "SELECT bk_process_id, process_template_id, bk_process_name, bk_func_name, work_path, proc_num,"
    " priority, timeout, auto_start FROM process WHERE service_instance_id = $1 ORDER BY 1",
    "process_bind_info": "SELECT bk_process_id, template_row_id, ip, port, protocol, enable FROM process_bind_info"
    " JOIN process USING (bk_process_id) WHERE service_instance_id = $1 ORDER BY 1, 2",
}


class DemoFailed(Exception):
    """The system answered, but not as the documentation of the request says."""


def show_documented_request(addresses: Addresses, console: Console) -> None:
    """Submit, poll, and show the answers, the rows and what Flower knows.

    Raises:
        DemoFailed: an answer, a row or Flower's task is not as it should be.
    """
    body = sample.REQUEST.read_bytes()
    with httpx2.Client(base_url=addresses.http, timeout=TIMEOUT_S) as client:
        console.rule("The documented example request, as an existing caller sends it")
        first = _show(console, _post(client, ESB_PATH, body)).json()
        created = _created(first)
        _show_outcome(console, client.get(f"/v1/batches/{first['request_id']}").json(), "created")

        console.rule("The same request on /v1/batches: accepted at once, polled to its end")
        accepted = _show(console, _post(client, "/v1/batches", body))
        if accepted.status_code != 202:
            raise DemoFailed(f"POST /v1/batches answered {accepted.status_code} instead of 202")
        polled = _poll(client, accepted.headers["Location"])
        second = _show(console, polled).json()
        if _created(second) != created:
            raise DemoFailed(f"the same rows asked for twice are {created} once and {second['data']} the other time")
        _show_outcome(console, second, "existing")

    console.rule("The rows in PostgreSQL")
    for title, rows in asyncio.run(_rows(addresses.postgres, created)):
        console.print(_table(title, rows))
        if not rows:
            raise DemoFailed(f"no row in {title} for service instance {created}")

    console.rule("The tasks in Flower")
    for answer in (first, second):
        path = f"/api/task/info/{answer['request_id']}"
        console.print(_table(path, [_task(addresses.flower + path)]))


def _post(client: httpx2.Client, path: str, body: bytes) -> httpx2.Response:
    return client.post(path, content=body, headers={"Content-Type": "application/json"})


def _poll(client: httpx2.Client, location: str) -> httpx2.Response:
    """Ask until the request has ended, as often as the server says."""
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        answer = client.get(location)
        if answer.status_code != 200 or "Retry-After" not in answer.headers:
            return answer
        time.sleep(min(float(answer.headers["Retry-After"]), 1.0))
    raise DemoFailed(f"{location} has not ended after {TIMEOUT_S:.0f} s")


def _created(envelope: dict[str, Any]) -> int:
    """The one service instance id of an envelope that says success."""
    data = envelope["data"]
    if envelope["result"] is not True or envelope["code"] != 0 or not isinstance(data, list) or len(data) != 1:
        raise DemoFailed(f"expected result true, code 0 and one id, got {envelope}")
    return int(data[0])


def _show_outcome(console: Console, report: dict[str, Any], expected: str) -> None:
    """Print what became of the one instance of a report, which has to be as `expected`."""
    [item] = report["items"]
    if item["outcome"] != expected:
        raise DemoFailed(f"host {item['bk_host_id']} is {item['outcome']} instead of {expected}")
    console.print(
        f"Host {item['bk_host_id']}: {expected}, service instance {item['service_instance_id']}", style="bold"
    )


async def _rows(dsn: str, service_instance_id: int) -> list[tuple[str, list[dict[str, Any]]]]:
    return [
        (title, [dict(row) for row in await fetch(dsn, statement, service_instance_id)])
        for title, statement in ROWS.items()
    ]


def _task(url: str) -> dict[str, Any]:
    """What Flower's API says about a request. Its events reach Flower a moment after the answer reached the caller."""
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        answer = httpx2.get(url, timeout=TIMEOUT_S)
        if answer.is_success and (task := answer.json())["state"] == "SUCCESS":
            return {key: task[key] for key in ("uuid", "name", "state", "args", "runtime", "worker")}
        time.sleep(0.1)
    raise DemoFailed(f"{url} does not say SUCCESS after {TIMEOUT_S:.0f} s")


def _show(console: Console, answer: httpx2.Response) -> httpx2.Response:
    request = answer.request
    console.print(f"{request.method} {request.url.path} -> {answer.status_code}", style="bold")
    for name in ("Location", "Retry-After"):
        if name in answer.headers:
            console.print(f"{name}: {answer.headers[name]}")
    console.print_json(answer.text)
    return answer


def _table(title: str, rows: list[dict[str, Any]]) -> Table:
    """One column a row, one line a field: CMDB's rows are wider than terminals."""
    table = Table("field", *("value" for _ in rows), title=title, title_justify="left", show_header=False)
    for field in rows[0] if rows else ():
        table.add_row(field, *(str(row[field]) for row in rows))
    return table
