"""How long it takes to take over a business from CMDB, and how much memory: ``python -m benchmarks.take_over``.

The CMDB of our own making (`chaos.cmdb`) serves one business; ``bksi catalogue pull --instances`` reads it as an
operator would: modules, hosts and templates alone, then the instances as well, and once more when nothing has changed.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from benchmarks import measure, report
from benchmarks.session import ROOT, Session, open_session
from benchmarks.shapes import Shape
from chaos.cmdb.changes import create_service_instance
from chaos.cmdb.world import Change, World
from devstack.process import Process
from devstack.sql import fetch
from worker.postgres.migrate import upgrade

_HOSTS: Final = 1000
_PROCESSES: Final = 2
_AT_ONCE: Final = 100
_BIZ: Final = 1
_PULLS: Final = {"catalogue alone": (), "with instances": ("--instances",), "again": ("--instances",)}


def make_business(directory: Path, instances: int) -> list[Path]:
    """Write a catalogue of modules with a thousand hosts each, and a journal of so many instances in them.

    Each instance has two processes of two bind rows.
    """
    modules = range(10, 10 + -(-instances // _HOSTS))
    hosts = [{"bk_host_id": id_, "bk_host_innerip": f"10.0.{id_ >> 8}.{id_ & 255}"} for id_ in range(1, _HOSTS + 1)]
    answers = {
        "list_service_template": [{"id": 5, "bk_biz_id": _BIZ, "name": "web", "service_category_id": 2}],
        "list_proc_template": [_template(number) for number in range(_PROCESSES)],
        "find_module_batch": [_module(id_) for id_ in modules],
        "list_biz_hosts": hosts,
        "find_module_host_relation": [
            {"host": {"bk_host_id": host["bk_host_id"]}, "modules": [{"bk_module_id": id_} for id_ in modules]}
            for host in hosts
        ],
    }
    files = []
    for api, items in answers.items():
        (file := directory / f"{api}.json").write_text(json.dumps({"data": {"info": items}}))
        files.append(file)
    _write_journal(directory / "journal", files, modules, instances)
    return files


def _write_journal(path: Path, files: Sequence[Path], modules: Sequence[int], instances: int) -> None:
    world = World()
    world.load(files)
    with path.open("w") as journal:
        for first in range(0, instances, _AT_ONCE):
            places = [divmod(number, _HOSTS) for number in range(first, min(first + _AT_ONCE, instances))]
            wish = [{"bk_host_id": host + 1} for _, host in places]
            body = {"bk_biz_id": _BIZ, "bk_module_id": modules[places[0][0]], "instances": wish}
            change, _ = create_service_instance(world, body, "admin")
            journal.write(json.dumps(asdict(Change(created=change.created))) + "\n")


def _template(number: int) -> dict[str, Any]:
    def column(value: Any) -> dict[str, Any]:
        return {"value": value, "as_default_value": True}

    names = {name: column(f"service-{number}") for name in ("bk_process_name", "bk_func_name")}
    rows = [
        {"row_id": row, "ip": column("3"), "port": column(str(8000 + 10 * number + row))}
        | {"protocol": column("1"), "enable": column(value=True)}
        for row in (1, 2)
    ]
    commands = {name: column("/data/service/bin/control.sh") for name in ("start_cmd", "stop_cmd", "restart_cmd")}
    property_ = names | commands | {"timeout": column(30), "bind_info": column(rows)}
    return {"id": 7 + number, "bk_biz_id": _BIZ, "service_template_id": 5, "property": property_}


def _module(id_: int) -> dict[str, Any]:
    known = {"bk_module_id": id_, "bk_module_name": f"module {id_}", "bk_biz_id": _BIZ, "bk_set_id": 3}
    return known | {"service_template_id": 5, "default": 0}


@contextmanager
def _cmdb(session: Session, files: Sequence[Path], journal: Path) -> Iterator[tuple[str, int]]:
    """The URL and the process id of a CMDB that serves it."""
    log = session.directory / "logs" / "cmdb.log"
    command: list[str | Path] = [sys.executable, "-m", "chaos.cmdb", journal, *files, "--port", "0"]
    with Process("cmdb", command, log=log, guard=session.guard, env=os.environ | {"PYTHONPATH": str(ROOT)}) as process:
        process.wait_until(lambda: "http://" in log.read_text(), timeout_s=120)
        yield log.read_text().split()[-1], process.pid


def _pull(url: str, dsn: str, directory: Path, *options: str) -> tuple[float, float]:
    """Seconds, and peak MiB of the process."""
    bksi = str(Path(sys.executable).with_name("bksi"))
    command = [bksi, "catalogue", "pull", "--url", url, "--biz", str(_BIZ), *options]
    env = os.environ | {"BKSI_POSTGRES_DSN": dsn, "BKSI_STATE_DIR": str(directory / "state")}
    began = time.perf_counter()
    with subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"bksi catalogue pull ended with {process.returncode}")
    return time.perf_counter() - began, usage.ru_maxrss / 1024


def _measure(session: Session, instances: int) -> list[dict[str, Any]]:
    dsn = session.database("take_over")
    upgrade(dsn)
    (directory := session.directory / "cmdb").mkdir()
    files, found = make_business(directory, instances), []
    with _cmdb(session, files, directory / "journal") as (url, pid):
        for name, options in _PULLS.items():
            cmdb_cpu, server_cpu = measure.cpu_seconds([pid]), measure.cpu_seconds([session.postgres.pid])
            seconds, peak = _pull(url, dsn, directory, *options)
            found.append(
                {
                    "pull": name,
                    "seconds": seconds,
                    "peak_memory_mib": peak,
                    "cmdb_cpu_s": measure.cpu_seconds([pid]) - cmdb_cpu,
                    "postgres_cpu_s": measure.cpu_seconds([session.postgres.pid]) - server_cpu,
                }
            )
    [(known,)] = asyncio.run(fetch(dsn, "SELECT count(*) FROM cmdb_instance WHERE gone_at IS NULL"))
    if known != instances:
        raise RuntimeError(f"{known} of {instances} instances were taken over")
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Make a business, take it over, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.take_over", description=__doc__)
    parser.add_argument("--instances", type=int, default=100_000)
    parser.add_argument("--out")
    options = parser.parse_args(arguments)
    with open_session([Shape(1)], 1, autovacuum=True) as session:
        found = _measure(session, options.instances)
    for row in found:
        print(
            f"{row['pull']:15}  {row['seconds']:6.1f} s   peak {row['peak_memory_mib']:5.0f} MiB"
            f"   CMDB {row['cmdb_cpu_s']:5.1f} s of CPU, PostgreSQL {row['postgres_cpu_s']:5.1f} s"
        )
    report.keep({"instances": options.instances, "rows": found}, options.out, "take-over")


if __name__ == "__main__":
    main()
