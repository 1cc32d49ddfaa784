"""A batch and the catalogue in, the rows it asks for or the reason to refuse out (CMDB sections 2 to 4)."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from contract.codes import Code, Refused, Why
from contract.request.batch import MAX_NAME_BYTES, Instance, ServiceInstanceBatch
from worker.expand.bound import Expansion, LastRows, Merged, bound_processes
from worker.expand.catalogue import Host, Module, ProcessTemplate
from worker.expand.naming import generate_name, unbound_key
from worker.expand.plan import Plan, PlannedInstance, PlannedProcess, Warnings
from worker.expand.unbound import unbound_processes


@dataclass(frozen=True, slots=True)
class CatalogueSlice:
    """The part of the catalogue that one batch touches.

    `module` is None when no module has the id in any business. `hosts` holds the requested hosts that are related to
    (business, module), and no others. `expansions` are the process templates of the module's service template, id
    ascending, made ready.
    """

    module: Module | None
    service_template_biz_id: int | None = None
    expansions: tuple[Expansion, ...] = ()
    hosts: Mapping[int, Host] = field(default_factory=dict)

    @property
    def process_templates(self) -> tuple[ProcessTemplate, ...]:
        """The process templates as CMDB has them."""
        return tuple(expansion.template for expansion in self.expansions)


def expand(catalogue: CatalogueSlice, batch: ServiceInstanceBatch, request_id: str) -> Plan:
    """Return the rows that `batch` asks for, and the refusal of every instance that cannot be written.

    Checks run in CMDB's order, V4 to V22. What is wrong with one instance goes to `Plan.refused` under its index. Where
    one bad instance ends the request (mode "atomic"), V8 is decided for all instances, then V9 for all, before anything
    else of any instance; when one of the two refuses, nothing else is looked at, and no instance is planned.

    Args:
        catalogue: the module, its templates, and those requested hosts that are in it.
        batch: the request.
        request_id: becomes part of `instance_key` under ``on_existing="clone"``.

    Raises:
        Refused: nothing of the batch can be written. 1101034 unknown module (V4), 1113004 another business's (V5),
            1199006 built-in module (V6), template without processes (V7), or "clone" in a module with a template.
    """
    module = _checked_module(catalogue, batch)
    refused = _refusals_before_expansion(catalogue, module, batch)
    expander = _Expander(catalogue, module, batch, request_id)
    planned = []
    is_over = bool(refused) and batch.mode == "atomic"
    for index, instance in enumerate(() if is_over else batch.instances):
        if index in refused:
            continue
        try:
            planned.append(expander.plan(index, instance))
        except Refused as problem:
            refused[index] = problem
    instances = _without_conflicts(planned, refused)
    return Plan(
        bk_biz_id=batch.bk_biz_id,
        bk_module_id=batch.bk_module_id,
        service_template_id=module.service_template_id,
        instances=tuple(instances),
        refused=dict(sorted(refused.items())),
        warnings=expander.warnings.pairs(),
    )


def _checked_module(catalogue: CatalogueSlice, batch: ServiceInstanceBatch) -> Module:
    module = catalogue.module
    if module is None:
        raise Refused(Code.MODULE_NOT_FOUND, "bk_module_id", path="bk_module_id")
    if module.bk_biz_id != batch.bk_biz_id:
        raise Refused(Code.MODULE_NOT_IN_BIZ, batch.bk_module_id, batch.bk_biz_id, path="bk_module_id")
    if module.default != 0:
        raise Refused.field(Code.PARAM_INVALID, "bk_module_id", Why.BUILT_IN)
    if module.is_bound and not catalogue.expansions:
        raise Refused(Code.PARAM_INVALID, "service_template_id", Why.TEMPLATE_EMPTY, path="bk_module_id")
    if module.is_bound and batch.on_existing == "clone":
        raise Refused.field(Code.PARAM_INVALID, "on_existing", Why.NO_CLONE)
    return module


def _refusals_before_expansion(
    catalogue: CatalogueSlice, module: Module, batch: ServiceInstanceBatch
) -> dict[int, Refused]:
    """V8 and V9. Of hosts that are not in the module the first names all, as CMDB's one message does."""
    is_atomic = batch.mode == "atomic"
    refused: dict[int, Refused] = {}
    if not module.is_bound:
        for index, (_, _, place) in enumerate(batch.instances):
            if not batch.asked(place):
                refused[index] = Refused.field(Code.PARAM_REQUIRED, f"instances[{index}].processes")
    if is_atomic and refused:
        return refused
    strangers = {index: host for index, host in enumerate(batch.bk_host_ids) if host not in catalogue.hosts}
    for index, host in strangers.items():
        named = strangers.values() if is_atomic and not refused else [host]
        path = f"instances[{index}].bk_host_id"
        refused.setdefault(index, Refused(Code.HOST_NOT_IN_MODULE, list(dict.fromkeys(named)), path=path))
    return refused


class _Expander:
    """Plans one instance after the other, with what all of them share."""

    def __init__(self, catalogue: CatalogueSlice, module: Module, batch: ServiceInstanceBatch, request_id: str) -> None:
        self.warnings = Warnings(strict=batch.strict)
        self._catalogue = catalogue
        self._module = module
        self._batch = batch
        self._clone_of = request_id if batch.on_existing == "clone" else None
        self._merged: dict[int | None, Merged] = defaultdict(dict)
        self._last_rows: LastRows = {}
        self._planned: dict[int, tuple[PlannedProcess, ...]] = {}
        """By place in the plan: that of the list in the batch, or the instance's own where the host has a say."""
        self._depends_on_host = any(expansion.depends_on_host for expansion in catalogue.expansions)
        self._is_sound = not module.is_bound or catalogue.service_template_biz_id == module.bk_biz_id

    def plan(self, index: int, instance: Instance) -> PlannedInstance:
        """Return the rows of one instance whose host is in the module; raises `Refused` (CMDB V10 to V22)."""
        bk_host_id, given, asked = instance
        if given or not self._is_sound:
            self._check(index, given)
        ignored, found = self.warnings.ignored, self.warnings.found
        host, ignored_before = self._catalogue.hosts[bk_host_id], len(ignored)
        place = index if self._depends_on_host else len(self._batch.processes) if asked is None else asked
        processes = self._planned.get(place)
        if processes is None:
            processes = self._processes(index, asked, host)
            if found == self.warnings.found:  # else it is planned again, for a warning names its instance
                self._planned[place] = processes
        if self._module.is_bound:
            name = given or self._catalogue.expansions[0].generate_name(host)
            instance_key = ""
        else:
            name = given or _generate_unbound_name(host, processes[0])
            instance_key = unbound_key(name) if self._clone_of is None else f"{self._clone_of}/{index}"
        if len(ignored) > ignored_before:
            raise Refused.field(Code.PARAM_INVALID, ignored[ignored_before], Why.STRICT)
        return PlannedInstance(index, bk_host_id, instance_key, name, processes, place, None, bool(given))

    def _processes(self, index: int, place: int | None, host: Host) -> tuple[PlannedProcess, ...]:
        asked = self._batch.asked(place)
        if not self._module.is_bound:
            return unbound_processes(index, asked, self.warnings)
        return bound_processes(
            self._catalogue.expansions,
            index,
            asked,
            host,
            warnings=self.warnings,
            merged=self._merged[place],
            last_rows=self._last_rows,
        )

    def _check(self, index: int, name: str | None) -> None:
        if name and len(name.encode()) > MAX_NAME_BYTES:
            raise Refused.field(Code.PARAM_INVALID, f"instances[{index}].service_instance_name", Why.NAME_TOO_LONG)
        if self._is_sound:
            return
        if self._catalogue.service_template_biz_id is None:
            raise Refused(Code.PARAM_INVALID, "service_template_id", Why.TEMPLATE_MISSING, path="bk_module_id")
        raise Refused.field(Code.PARAM_INVALID, "bk_biz_id", Why.TEMPLATE_FOREIGN)


def _generate_unbound_name(host: Host, first: PlannedProcess) -> str:
    return generate_name(host, first.bk_process_name, (row.port for row in first.bind_info))


def _without_conflicts(planned: list[PlannedInstance], refused: dict[int, Refused]) -> list[PlannedInstance]:
    """Mark instances that another one already asks for; refuse all that ask for different things under one key.

    Refusing them all, and not all but one, keeps the order of the request from deciding what is stored.
    """
    if len({(instance.bk_host_id, instance.instance_key) for instance in planned}) == len(planned):
        return planned
    by_key: dict[tuple[int, str], list[PlannedInstance]] = defaultdict(list)
    for instance in planned:
        by_key[instance.bk_host_id, instance.instance_key].append(instance)
    kept = []
    for first, *others in by_key.values():
        if all((other.name, other.processes) == (first.name, first.processes) for other in others):
            kept.append(first)
            kept.extend(replace(other, duplicate_of=first.index) for other in others)
            continue
        paths = ", ".join(f"instances[{instance.index}]" for instance in (first, *others))
        for instance in (first, *others):
            path = f"instances[{instance.index}].bk_host_id"
            refused[instance.index] = Refused(Code.DUPLICATE, paths, path=path)
    return sorted(kept, key=lambda instance: instance.index)
