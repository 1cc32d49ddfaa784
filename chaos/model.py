"""What requests ask for and what has to be stored, in plain sets: the simplest thing that follows the rules.

Requests are made so that the rows do not depend on who comes first: what stands in a row is a function of its key. It
shares no code with the worker.
"""

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

BIZ: Final = 1
UNBOUND_MODULE: Final = 61
TEMPLATES: Final[Mapping[int, Mapping[str, tuple[tuple[int, str], ...]]]] = {
    60: {"job_java": ((1234, "80"),)},
    62: {"nginx": ((1, "80"), (2, "443")), "redis": ((1, "6379"), (2, "16379-16383"))},
}
"""The sample catalogue's bound modules: their processes, each with its bind rows (row id, port)."""
HOSTS: Final = range(1, 201)
"""Hosts that are in all three modules."""
_MODULES: Final = (60, UNBOUND_MODULE, UNBOUND_MODULE, 62)
_NAMES: Final = 40
_PROCESSES: Final = ("alpha", "beta", "gamma")

Row = tuple[Any, ...]


@dataclass(frozen=True)
class Instance:
    """One wanted service instance. `processes` are names; empty for a bound module, whose template has them."""

    bk_module_id: int
    bk_host_id: int
    name: str = ""
    processes: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[int, int, str]:
        """Its natural key."""
        return (self.bk_module_id, self.bk_host_id, self.name)

    def document(self) -> dict[str, Any]:
        """As a caller sends it."""
        if self.bk_module_id != UNBOUND_MODULE:
            return {"bk_host_id": self.bk_host_id}
        return {
            "bk_host_id": self.bk_host_id,
            "service_instance_name": self.name,
            "processes": [{"process_template_id": 0, "process_info": self._process(name)} for name in self.processes],
        }

    def rows(self) -> set[Row]:
        """Every row that has to be there once it has been created: the instance, processes, bind rows, without ids."""
        binds: Mapping[str, tuple[tuple[int, str], ...]] = TEMPLATES.get(self.bk_module_id, {})
        if self.bk_module_id == UNBOUND_MODULE:
            binds = {name: ((1, self._port(name)),) for name in self.processes}
        rows: set[Row] = {self.key}
        for process, bind_rows in binds.items():
            rows.add((*self.key, process))
            rows |= {(*self.key, process, row_id, port) for row_id, port in bind_rows}
        return rows

    def _process(self, name: str) -> dict[str, Any]:
        row = {"template_row_id": 1, "ip": "127.0.0.1", "port": self._port(name), "protocol": "1", "enable": True}
        return {"bk_process_name": name, "bk_func_name": name, "bind_info": [row]}

    def _port(self, process: str) -> str:
        return str(1024 + _PROCESSES.index(process) * 1000 + self.bk_host_id)


@dataclass(frozen=True)
class Batch:
    """What one request asks for."""

    instances: tuple[Instance, ...]

    def body(self) -> dict[str, Any]:
        """The body of ``POST /v1/batches``."""
        return {
            "bk_biz_id": BIZ,
            "bk_module_id": self.instances[0].bk_module_id,
            "instances": [instance.document() for instance in self.instances],
        }

    def rows(self) -> set[Row]:
        """Every row that has to be there once it has succeeded."""
        return set().union(*(instance.rows() for instance in self.instances))


def random_batch(choose: random.Random) -> Batch:
    """A request of 1 instance or, one time in eight, of 100; bound or not; on hosts that others want too."""
    module = choose.choice(_MODULES)
    return batch_of(100 if choose.random() < 0.125 else 1, choose, module)


def batch_of(count: int, choose: random.Random, module: int | None = None) -> Batch:
    """So many instances of a module, any when none is given, on as many hosts."""
    module = module or choose.choice(_MODULES)
    hosts = choose.sample(HOSTS, count)
    if module != UNBOUND_MODULE:
        return Batch(tuple(Instance(module, host) for host in hosts))
    name = f"unit-{choose.randrange(_NAMES)}"
    processes = tuple(sorted(choose.sample(_PROCESSES, choose.randint(1, len(_PROCESSES)))))
    return Batch(tuple(Instance(module, host, name, processes) for host in hosts))


def expected_rows(succeeded: Iterable[Batch]) -> set[Row]:
    """The union of what all successful requests asked for."""
    return set().union(*(batch.rows() for batch in succeeded))
