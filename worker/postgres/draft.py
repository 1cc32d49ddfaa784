"""Turn one request's plan and what is stored already into the rows to insert and the items to answer. No I/O."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Literal

from contract.answer.report import Report
from contract.answer.status import (
    Item,
    Outcome,
    ProcessItem,
    Warning_,
    failed_item,
    process_item,
    repeated_item,
)
from contract.codes import Reason
from contract.message import Caller
from worker.expand.catalogue import Host
from worker.expand.plan import Plan, PlannedInstance, PlannedProcess
from worker.expand.reconcile import ExistingInstance, reconcile, refuse_existing
from worker.postgres.columns import NewList, NewRows
from worker.postgres.existing import NaturalKey


@dataclass(frozen=True, slots=True)
class WriteRequest:
    """One request to write.

    `build_report` makes the final report of the items of ``plan.instances``, in plan order; it is called before the
    commit, again after a conflict, and must do nothing else. `attempt` is kept in the ledger. `hosts` are those of the
    catalogue slice; ``on_existing="fail"`` needs them to say which host has an instance already.
    """

    request_id: str
    plan: Plan
    caller: Caller
    build_report: Callable[[Sequence[Item]], Report]
    attempt: int = 1
    on_existing: Literal["reuse", "fail", "clone"] = "reuse"
    mode: Literal["atomic", "partial"] = "atomic"
    hosts: Mapping[int, Host] = field(default_factory=dict)

    def key(self, planned: PlannedInstance) -> NaturalKey:
        """The natural key of one of the plan's instances."""
        return NaturalKey(self.plan.bk_module_id, planned.bk_host_id, planned.instance_key)

    def natural_keys(self) -> set[NaturalKey]:
        """The natural keys of all of them."""
        return {self.key(planned) for planned in self.plan.instances}

    def process_count(self) -> int:
        """The most processes that can be inserted."""
        return sum(len(planned.processes) for planned in self.plan.instances)


class Draft:
    """What becomes of one request: an item per instance, and what is to be inserted for it."""

    def __init__(
        self, request: WriteRequest, instance_ids: Iterator[int], process_ids: Iterator[int], rows: NewRows
    ) -> None:
        plan, caller = request.plan, request.caller
        self.request = request
        self.items: list[Item] = []
        self.created_ids: list[int] = []
        """Ids of the service instances to insert."""
        self.healed: set[int] = set()
        """Ids of the existing service instances under which rows are to be inserted."""
        self.row_count = 0
        """Instances, processes and bind rows to insert."""
        self._instance_ids = instance_ids
        self._process_ids = process_ids
        self._who = caller.bk_username, caller.bk_supplier_account
        self._instances: tuple[list[Any], ...] = [], [], [], []
        of_request = plan.bk_biz_id, plan.bk_module_id, plan.service_template_id, *self._who, request.request_id
        rows.instances[self._who].append((of_request, self._instances))
        self._rows = rows
        self._lists: dict[int, NewList] = {}
        """By their place in the plan."""

    def create(self, planned: PlannedInstance) -> Item:
        """Insert all of a new instance."""
        id_, host = next(self._instance_ids), planned.bk_host_id
        ids, hosts, keys, names = self._instances
        ids.append(id_)
        hosts.append(host)
        keys.append(planned.instance_key)
        names.append(planned.name)
        self.created_ids.append(id_)
        self.row_count += 1
        item: Item = {
            "index": planned.index,
            "bk_host_id": host,
            "outcome": Outcome.CREATED,
            "service_instance_id": id_,
        }
        if planned.processes:
            new = self._lists.get(planned.place)
            if new is None:
                new = self._lists[planned.place] = self._new_list(planned.processes)
            item["processes"] = self._insert(id_, host, new)
        return item

    def complete(self, planned: PlannedInstance, existing: ExistingInstance) -> Item:
        """Insert what is missing under an existing instance, and say where it differs."""
        id_ = existing.service_instance_id
        missing = reconcile(planned, existing)
        healed = set()
        for bk_process_id, position, row in missing.bind_rows:
            row_values = (*row, position)
            self._rows.bind_rows[row_values].append((row_values, ([planned.bk_host_id], [bk_process_id])))
            healed.add(bk_process_id)
        self.row_count += len(missing.bind_rows)
        new = []
        if missing.processes:
            new = self._insert(id_, planned.bk_host_id, self._new_list(missing.processes))
        # A name is unique within an instance (CMDB 4.4).
        items = {process.bk_process_name: item for process, item in zip(missing.processes, new, strict=True)}
        for process, bk_process_id in missing.kept:
            outcome = Outcome.HEALED if bk_process_id in healed else Outcome.EXISTING
            items[process.bk_process_name] = _item(process, outcome, bk_process_id)
        for process in missing.blocked:
            items[process.bk_process_name] = _item(process, Outcome.SKIPPED)
        item: Item = {
            "index": planned.index,
            "bk_host_id": planned.bk_host_id,
            "outcome": Outcome.EXISTING if missing.is_empty else Outcome.HEALED,
            "service_instance_id": id_,
        }
        if planned.processes:
            item["processes"] = [items[process.bk_process_name] for process in planned.processes]
        if missing.differences:
            item["warnings"] = [Warning_(path=path, reason=Reason.DIFFERS) for path in missing.differences]
        if not missing.is_empty:
            self.healed.add(id_)
        return item

    def _new_list(self, processes: Sequence[PlannedProcess]) -> NewList:
        return self._rows.new_list(self.request.plan.bk_biz_id, self._who, processes)

    def _insert(self, service_instance_id: int, bk_host_id: int, new: NewList) -> list[ProcessItem]:
        self.row_count += new.row_count
        return new.add(service_instance_id, bk_host_id, [*islice(self._process_ids, len(new.processes))])


def draft(
    request: WriteRequest,
    known: Mapping[NaturalKey, ExistingInstance],
    instance_ids: Iterator[int],
    process_ids: Iterator[int],
    rows: NewRows,
) -> Draft:
    """Decide what becomes of each instance of the plan.

    `known` is what is stored under the plan's keys, as far as anybody has looked. There are enough ids for all; the
    rows to insert are added to `rows`.
    """
    taken = [planned for planned in request.plan.instances if request.key(planned) in known] if known else ()
    refused = refuse_existing(taken, request.hosts) if taken and request.on_existing == "fail" else {}
    made = Draft(request, instance_ids, process_ids, rows)
    items: dict[int, Item] = {}
    for planned in request.plan.instances:
        if planned.index in refused:
            item = failed_item(planned.index, planned.bk_host_id, refused[planned.index])
        elif refused and request.mode == "atomic":
            decisive = refused[min(refused)]
            item = failed_item(planned.index, planned.bk_host_id, decisive, outcome=Outcome.SKIPPED)
        elif planned.duplicate_of is not None:
            item = repeated_item(items[planned.duplicate_of], planned.index)
        elif taken and (existing := known.get(request.key(planned))):
            item = made.complete(planned, existing)
        else:
            item = made.create(planned)
        items[planned.index] = item
    made.items = list(items.values())
    return made


def _item(process: PlannedProcess, outcome: Outcome, bk_process_id: int | None = None) -> ProcessItem:
    return process_item(outcome, process.process_template_id, process.bk_process_name, bk_process_id)
