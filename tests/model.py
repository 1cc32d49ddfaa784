"""What is stored, as plain dicts: the simplest thing that follows the rules, to hold the real store against.

A `Model` takes plans one after the other, as if each had a transaction of its own. It shares no code with
`worker.expand.reconcile` or the store.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from worker.expand.plan import Plan, PlannedInstance, PlannedProcess


class Key(NamedTuple):
    """The natural key of a service instance."""

    bk_module_id: int
    bk_host_id: int
    instance_key: str


@dataclass
class StoredProcess:
    """A process and its bind rows by `template_row_id`."""

    process_template_id: int
    values: Mapping[str, Any]
    bind_info: dict[int, tuple[str, str, str, bool]] = field(default_factory=dict)


@dataclass
class StoredInstance:
    """A service instance and its processes by name, which is unique within it."""

    name: str
    service_template_id: int
    processes: dict[str, StoredProcess] = field(default_factory=dict)


class Model:
    """All service instances by natural key."""

    def __init__(self) -> None:
        self.instances: dict[Key, StoredInstance] = {}

    def apply(self, plan: Plan, *, on_existing: str = "reuse", mode: str = "atomic") -> list[str]:
        """Write a plan and return the outcome of every instance of the request, in input order.

        Outcomes are created, existing (also what an earlier instance of the request has written), healed, failed, and
        skipped for those that fall with another one.
        """
        failed = set(plan.refused)
        if on_existing == "fail":
            failed |= {planned.index for planned in plan.instances if self._key(plan, planned) in self.instances}
        indexes = sorted(failed | {planned.index for planned in plan.instances})
        if failed and mode == "atomic":
            return ["failed" if index in failed else "skipped" for index in indexes]
        outcomes = dict.fromkeys(failed, "failed")
        for planned in plan.instances:
            if planned.index in failed:
                continue
            if planned.duplicate_of is not None:
                outcomes[planned.index] = "existing"
            else:
                outcomes[planned.index] = self._write(plan, planned)
        return [outcomes[index] for index in indexes]

    def rows(self) -> set[tuple[Any, ...]]:
        """Every row without its id: an instance, a process, or a bind row, each with the keys of those above it."""
        found: set[tuple[Any, ...]] = set()
        for key, instance in self.instances.items():
            found.add((*key, instance.name, instance.service_template_id))
            for name, process in instance.processes.items():
                values = tuple(sorted(process.values.items()))
                found.add((*key, name, process.process_template_id, values))
                found |= {(*key, name, row_id, *columns) for row_id, columns in process.bind_info.items()}
        return found

    def _write(self, plan: Plan, planned: PlannedInstance) -> str:
        key = self._key(plan, planned)
        instance = self.instances.get(key)
        if instance is None:
            instance = self.instances[key] = StoredInstance(planned.name, plan.service_template_id)
            for process in planned.processes:
                self._add(instance, process)
            return "created"
        added = [self._complete(instance, process) for process in planned.processes]
        return "healed" if any(added) else "existing"

    def _complete(self, instance: StoredInstance, process: PlannedProcess) -> bool:
        for name, stored in instance.processes.items():
            same_template = process.process_template_id and stored.process_template_id == process.process_template_id
            if same_template or (not process.process_template_id and name == process.bk_process_name):
                return self._add_rows(stored, process)
        return self._add(instance, process)

    def _add(self, instance: StoredInstance, process: PlannedProcess) -> bool:
        function, regex = process.values["bk_func_name"], process.values["bk_start_param_regex"]
        for name, stored in instance.processes.items():
            same_function = (stored.values["bk_func_name"], stored.values["bk_start_param_regex"]) == (function, regex)
            if name == process.bk_process_name or (same_function and regex is not None):
                return False
        stored = StoredProcess(process.process_template_id, dict(process.values))
        instance.processes[process.bk_process_name] = stored
        self._add_rows(stored, process)
        return True

    @staticmethod
    def _add_rows(stored: StoredProcess, process: PlannedProcess) -> bool:
        missing = {
            row_id: (ip, port, protocol, enable)
            for row_id, ip, port, protocol, enable in process.bind_info
            if row_id not in stored.bind_info
        }
        stored.bind_info |= missing
        return bool(missing)

    @staticmethod
    def _key(plan: Plan, planned: PlannedInstance) -> Key:
        return Key(plan.bk_module_id, planned.bk_host_id, planned.instance_key)
