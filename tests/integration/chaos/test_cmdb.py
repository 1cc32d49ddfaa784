"""The CMDB of our own making over HTTP: paths, shapes and pages of the real one, and how it fails."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from chaos.cmdb.server import CmdbServer
from devstack import sample

NATIVE = "/api/v3"
DETAILS = "/findmany/proc/service_instance/details"
CREATE = "/create/proc/service_instance"
ESB = "/api/c/compapi/v2/cc"


class Caller:
    def __init__(self, url: str) -> None:
        self.url = url

    def __call__(self, method: str, path: str, **body: Any) -> httpx2.Response:
        return httpx2.request(method, self.url + path, json={"bk_biz_id": 1, **body}, timeout=30)

    def data(self, method: str, path: str, **body: Any) -> Any:
        answer = self(method, path, **body).json()
        assert answer["result"], answer
        return answer["data"]

    def details(self, **body: Any) -> dict[str, Any]:
        page = {"start": 0, "limit": 1000, "sort": "id"}
        found: dict[str, Any] = self.data("POST", NATIVE + DETAILS, page=page, **body)
        return found

    def is_answered(self, method: str, path: str, **body: Any) -> bool:
        """Whether CMDB itself says that it has done it."""
        try:
            answer = self(method, path, **body)
        except httpx2.TransportError:
            return False
        return answer.is_success and bool(answer.json()["result"])


def wish(*hosts: int, module: int = 60) -> dict[str, Any]:
    return {"bk_module_id": module, "instances": [{"bk_host_id": host} for host in hosts]}


def free_wish(*names: str, host: int = 2) -> dict[str, Any]:
    """Instances of a module without template, each with two processes."""
    infos = [{"bk_process_name": name, "bk_func_name": name} for name in ("alpha", "beta")]
    processes = [{"process_info": info} for info in infos]
    instances = [{"bk_host_id": host, "service_instance_name": name, "processes": processes} for name in names]
    return {"bk_module_id": 61, "instances": instances}


@pytest.fixture
def cmdb(tmp_path: Path) -> Iterator[CmdbServer]:
    server = CmdbServer(tmp_path / "journal", hold_s=0)
    server.load(file for file in sample.CATALOGUE if "-biz-2" not in file.name)
    with server.serving():
        yield server


@pytest.fixture
def call(cmdb: CmdbServer) -> Caller:
    return Caller(cmdb.url)


def test_creation_by_both_doors_and_every_listing(call: Caller) -> None:
    assert call.data("POST", NATIVE + CREATE, **wish(2, 3)) == [1, 2]
    answer = call("POST", f"{ESB}/create_service_instance/", **free_wish("mine")).json()
    assert (answer["data"], len(answer["request_id"])) == ([3], 32)
    found = call.data("POST", f"{NATIVE}/findmany/proc/service_instance", bk_module_id=61)
    assert [(one["id"], one["name"]) for one in found["info"]] == [(3, "mine")]
    assert "process_instances" not in found["info"][0]
    assert [one["id"] for one in call.details(bk_host_list=[2])["info"]] == [1, 3]
    assert [one["id"] for one in call.details(service_instance_ids=[2])["info"]] == [2]
    listed = call.data("POST", f"{NATIVE}/findmany/proc/process_instance", service_instance_id=3)
    assert [one["property"]["bk_process_name"] for one in listed] == ["alpha", "beta"]
    assert {one["relation"]["process_template_id"] for one in listed} == {0}


def test_process_instances_are_created_updated_and_deleted(call: Caller) -> None:
    (id_,) = call.data("POST", NATIVE + CREATE, **free_wish("mine"))
    gamma = {"bk_process_name": "gamma", "bk_func_name": "gamma"}
    path = f"{NATIVE}/create/proc/process_instance"
    (process,) = call.data("POST", path, service_instance_id=id_, processes=[{"process_info": gamma}])
    update = [{**gamma, "bk_process_id": process, "timeout": 9}]
    assert call.data("PUT", f"{NATIVE}/update/proc/process_instance", processes=update) == [process]
    assert call.details()["info"][0]["process_instances"][2]["process"]["timeout"] == 9
    call.data("DELETE", f"{NATIVE}/deletemany/proc/service_instance", service_instance_ids=[id_])
    assert call.details()["count"] == 0


def test_refusal_has_status_200(call: Caller) -> None:
    call.data("POST", NATIVE + CREATE, **wish(2))
    again = call("POST", NATIVE + CREATE, **wish(3, 2))
    assert (again.status_code, again.json()["code"], again.json()["data"]) == (200, 1113016, None)
    assert call("POST", NATIVE + DETAILS, page={"limit": 1001}).json()["code"] == 1199059
    assert call("POST", f"{NATIVE}/no/such/path").status_code == 404


@pytest.mark.parametrize(("kind", "stored"), [("busy", 0), ("broken", 0), ("silent", 0), ("half", 1), ("unheard", 2)])
def test_creation_that_fails(cmdb: CmdbServer, call: Caller, kind: str, stored: int) -> None:
    cmdb.failures.set({kind: 1})
    assert not call.is_answered("POST", NATIVE + CREATE, **wish(2, 3))
    cmdb.failures.set({})
    assert call.details()["count"] == stored
    assert cmdb.failures.done == {kind: 1}


def test_half_of_one_instance_without_template_is_the_half_of_its_processes(cmdb: CmdbServer, call: Caller) -> None:
    cmdb.most_processes = 1
    assert not call.is_answered("POST", NATIVE + CREATE, **free_wish("mine"))
    assert {len(one["process_instances"]) for one in call.details()["info"]} == {1}


def test_pages_shift_while_they_are_read(cmdb: CmdbServer, call: Caller) -> None:
    cmdb.failures.set({"shifted": 1})
    counts = {call.details()["count"] for _ in range(30)}
    assert len(counts) > 1
    assert {one["creator"] for one in call.details()["info"]} <= {"stranger"}


def test_killed_process_goes_on_where_it_was(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "chaos.cmdb", tmp_path / "journal", "--port", "0", "--hold-s", "0"]
    for hosts in ((2,), (3,)):
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            call = Caller(process.stdout.readline().strip())
            call.data("POST", NATIVE + CREATE, **wish(*hosts))
            call("POST", "/control", chances={"half": 1})
            call("POST", "/control", chances={})
            assert call("POST", "/control").json() == {"chances": {}, "done": {}}
            shown = [one["bk_host_id"] for one in call.details()["info"]]
            process.send_signal(signal.SIGKILL if hosts == (2,) else signal.SIGTERM)
            assert process.wait(10) == (-signal.SIGKILL if hosts == (2,) else 0)
    assert shown == [2, 3]
    assert len((tmp_path / "journal").read_text().splitlines()) == 2
    assert json.loads((tmp_path / "journal").read_text().splitlines()[0])["created"][0]["bk_host_id"] == 2
