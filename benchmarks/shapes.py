"""The requests that every system is given, and the catalogue they need.

A shape ``100x2x2`` is a request for 100 instances with 2 processes each, of 2 bind rows each. Every request asks for
instances that do not exist: one module has 100 hosts, and each (module, host) is asked for once. Neighbouring
1-instance requests name different modules, as a mixed load does.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import asyncpg

BK_BIZ_ID = 7
HOSTS_PER_MODULE = 100
BK_APP_CODE = "benchmark"

_TEXTS = {
    "bk_start_param_regex": "",
    "description": "made by the benchmark",
    "work_path": "/data/bkee",
    "user": "nobody",
    "start_cmd": "./bin/start.sh --config etc/service.toml --daemon",
    "stop_cmd": "./bin/stop.sh --graceful --timeout 30",
    "restart_cmd": "./bin/restart.sh --config etc/service.toml",
    "face_stop_cmd": "./bin/stop.sh --force",
    "reload_cmd": "./bin/reload.sh",
    "pid_file": "/var/run/service.pid",
}
_INTS = {"proc_num": 1, "timeout": 30, "priority": 1, "bk_start_check_secs": 5}


@dataclass(frozen=True)
class Shape:
    """What one request asks for."""

    instances: int
    processes: int = 2
    binds: int = 2
    differ: bool = False
    """Whether no two instances ask for the same processes."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """``100x2x2``, or ``1`` for ``1x2x2``; with ``d`` behind it, no two instances are alike."""
        differ = text.lower().endswith("d")
        instances, *rest = [int(part) for part in (text[:-1] if differ else text).lower().split("x")]
        if len(rest) not in (0, 2) or not 1 <= instances <= HOSTS_PER_MODULE or min(rest, default=1) < 1:
            raise ValueError(f"{text!r} is not a shape: give INSTANCES or INSTANCESxPROCESSESxBINDS[d], at most 100x…")
        processes, binds = rest or (cls.processes, cls.binds)
        return cls(instances, processes, binds, differ=differ)

    def __str__(self) -> str:
        return f"{self.instances}x{self.processes}x{self.binds}{'d' if self.differ else ''}"

    @property
    def rows(self) -> int:
        """Rows that one request writes into service_instance, process and process_bind_info."""
        return self.instances * (1 + self.processes * (1 + self.binds))

    @property
    def service_template_id(self) -> int:
        """The template behind the modules of this shape."""
        return self.processes * 1000 + self.binds

    def modules_needed(self, requests: int) -> int:
        """How many modules have enough hosts for so many requests."""
        return -(-requests * self.instances // HOSTS_PER_MODULE)

    def module_and_hosts(self, number: int, modules: int) -> tuple[int, list[int]]:
        """The bk_module_id and bk_host_ids of request `number`."""
        place, turn = number % modules, number // modules
        if (turn + 1) * self.instances > HOSTS_PER_MODULE:
            raise ValueError(f"{modules} modules have no hosts for request {number} of {self}")
        first = place * HOSTS_PER_MODULE + turn * self.instances + 1
        return self.service_template_id * 1_000_000 + place, list(range(first, first + self.instances))

    def body(self, number: int, modules: int) -> bytes:
        """The JSON of request `number`, as a caller sends it: every value that the template leaves open."""
        module, hosts = self.module_and_hosts(number, modules)
        body = {
            "bk_biz_id": BK_BIZ_ID,
            "bk_module_id": module,
            "instances": [
                {"bk_host_id": host, "processes": [self._process(place, host) for place in range(self.processes)]}
                for host in hosts
            ],
        }
        return json.dumps(body, separators=(",", ":")).encode()

    def _process(self, position: int, host: int) -> dict[str, Any]:
        rows = [
            {"template_row_id": row, "ip": "127.0.0.1", "port": str(_port(position, row)), "protocol": "1"}
            for row in range(1, self.binds + 1)
        ]
        info: dict[str, Any] = {"bk_process_name": f"service-{position}", "bk_func_name": f"service-{position}"}
        info |= _TEXTS | _INTS | {"auto_start": True, "bind_info": rows}
        if self.differ:
            info["work_path"] = f"/data/bkee/{host}"
        return {"process_template_id": self._process_template_id(position), "process_info": info}

    def _process_template_id(self, position: int) -> int:
        return self.service_template_id * 1000 + position

    def templates(self) -> list[tuple[int, int, int, str, str]]:
        """Rows of `process_template`: id, bk_biz_id, service_template_id, bk_process_name, property."""
        return [
            (
                self._process_template_id(position),
                BK_BIZ_ID,
                self.service_template_id,
                f"service-{position}",
                json.dumps(self._template(position)),
            )
            for position in range(self.processes)
        ]

    def _template(self, position: int) -> dict[str, Any]:
        names = {"bk_process_name": f"service-{position}", "bk_func_name": f"service-{position}"}
        rows = [
            {"row_id": row, **_open({"ip": "1", "port": str(_port(position, row)), "protocol": "1", "enable": True})}
            for row in range(1, self.binds + 1)
        ]
        return {
            **{name: {"value": value, "as_default_value": True} for name, value in names.items()},
            **_open(dict.fromkeys(_TEXTS, "") | _INTS),
            "bind_info": {"value": rows, "as_default_value": True},
        }


def _open(values: Mapping[str, Any]) -> dict[str, Any]:
    """Columns of a template that the caller may override."""
    return {name: {"value": value, "as_default_value": False} for name, value in values.items()}


def _port(position: int, row: int) -> int:
    return 8000 + position * 10 + row


async def load_catalogue(dsn: str, shapes: list[Shape], modules: int) -> None:
    """Fill the catalogue with `modules` modules for each template that the shapes need, and 100 hosts for each."""
    connection = await asyncpg.connect(dsn)
    hosts = range(1, modules * HOSTS_PER_MODULE + 1)
    templates = {shape.service_template_id: shape for shape in shapes}.values()
    copy = connection.copy_records_to_table
    async with connection.transaction():
        await copy("host", columns=["bk_host_id", "bk_host_innerip"], records=[(id_, _address(id_)) for id_ in hosts])
        for shape in templates:
            template = shape.service_template_id
            await copy("service_template", columns=["id", "bk_biz_id"], records=[(template, BK_BIZ_ID)])
            await copy(
                "process_template",
                columns=["id", "bk_biz_id", "service_template_id", "bk_process_name", "property"],
                records=shape.templates(),
            )
            first = template * 1_000_000
            await copy(
                "module",
                columns=["bk_module_id", "bk_biz_id", "bk_module_name", "service_template_id"],
                records=[(first + place, BK_BIZ_ID, f"module-{place}", template) for place in range(modules)],
            )
            await copy(
                "module_host_relation",
                columns=["bk_module_id", "bk_host_id", "bk_biz_id"],
                records=[(first + (id_ - 1) // HOSTS_PER_MODULE, id_, BK_BIZ_ID) for id_ in hosts],
            )
    await connection.execute("ANALYZE host, module, module_host_relation, process_template, service_template")
    await connection.close()


def _address(bk_host_id: int) -> str:
    return f"10.{bk_host_id >> 16 & 255}.{bk_host_id >> 8 & 255}.{bk_host_id & 255}"
