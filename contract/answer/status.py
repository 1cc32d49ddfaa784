"""How a request stands, as a whole and instance by instance, and why: what a report is made of.

Values to store, rendered when somebody reads. None of them is one that the caller sent: paths, numbers, ids.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Final, NotRequired, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema
from typing_extensions import TypedDict  # before Python 3.12 pydantic takes no other

from contract.codes import Code, Language, Reason, Refused, text


class Status(StrEnum):
    """Where a request stands. The first two are unfinished, the rest are final."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    SUCCESS = "SUCCESS"
    FAILED = "FAILED"
    PART_FAILED = "PART_FAILED"
    TERMINATED = "TERMINATED"

    @property
    def is_final(self) -> bool:
        """Whether the request has ended."""
        return self not in (Status.PENDING, Status.RUNNING)


class DeliveryStatus(StrEnum):
    """Whether CMDB has what a request created here; of a request that is handed on to a CMDB."""

    PENDING = "PENDING"
    DELIVERED = "DELIVERED"
    FAILED = "FAILED"


class Outcome(StrEnum):
    """What became of one instance, or of one process under it."""

    CREATED = "created"
    EXISTING = "existing"
    HEALED = "healed"
    FAILED = "failed"
    SKIPPED = "skipped"

    @property
    def is_success(self) -> bool:
        """Whether the rows that were asked for are there."""
        return self in SUCCESSES


SUCCESSES: Final = (Outcome.CREATED, Outcome.EXISTING, Outcome.HEALED)


_LEAST_NUMBER: Final = -(2**63)
_GREATEST_NUMBER: Final = 2**64 - 1


def _plain(args: Iterable[object]) -> tuple[object, ...]:
    """Arguments as JSON can keep them, so that storing a failure never fails."""
    return tuple(arg if _is_plain(arg) else _plain(arg) if isinstance(arg, list | tuple) else str(arg) for arg in args)


def _is_plain(arg: object) -> bool:
    # A number that orjson cannot write is shown alike when it is stored as text.
    return isinstance(arg, str) or (isinstance(arg, int) and _LEAST_NUMBER <= arg <= _GREATEST_NUMBER)


MessageArgs = Annotated[tuple[Any, ...], BeforeValidator(_plain)]


class Warning_(TypedDict):  # noqa: N801 - `Warning` is a builtin
    """Something that was accepted but not taken as sent: a field path, never the value.

    `reason` is a `contract.codes.Reason`, or a text of its own.
    """

    path: str
    reason: str


class Problem(BaseModel):
    """A code with what its text needs: a `Refused` that can be stored."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    code: int = 0
    message_args: MessageArgs = ()
    path: str = ""

    @classmethod
    def of(cls, refused: Refused) -> "Problem":
        """The code, the arguments and the path of a `Refused`."""
        return Problem(code=refused.code, message_args=refused.message_args, path=refused.path)

    def message(self, language: Language = "en") -> str:
        """The text to show."""
        return text(Code(self.code), self.message_args, language, path=self.path)

    def document(self, language: Language = "en") -> dict[str, Any]:
        """The problem as an entry of v1's ``errors``."""
        return {"path": self.path, "code": self.code, "message": self.message(language)}


class ProcessItem(TypedDict):
    """One process of an instance. What is null or 0 is left out. `cmdb_id` is its id in CMDB."""

    bk_process_id: NotRequired[int | None]
    cmdb_id: NotRequired[int | None]
    process_template_id: NotRequired[int]
    bk_process_name: NotRequired[str | None]
    outcome: Outcome


def process_item(
    outcome: Outcome,
    process_template_id: int = 0,
    bk_process_name: str | None = None,
    bk_process_id: int | None = None,
) -> ProcessItem:
    """One process of an instance, with what is known of it."""
    item: ProcessItem = {"outcome": outcome}
    if bk_process_name is not None:
        item = {"bk_process_name": bk_process_name, **item}
    if process_template_id:
        item = {"process_template_id": process_template_id, **item}
    return item if bk_process_id is None else {"bk_process_id": bk_process_id, **item}


class Item(TypedDict):
    """One instance of the request. `data` of the envelope holds the same ids in the same order.

    What has its default (null, 0, empty) is left out. `code`, `message_args` and `path` say why it was not created;
    `service_instance_id` is missing where it does not exist; `cmdb_id` is its id in CMDB. `warnings` are what this one
    instance could not have as asked: `Reason.DIFFERS`, `Reason.DUPLICATE_IN_REQUEST`.
    """

    code: NotRequired[int]
    message_args: NotRequired[MessageArgs]
    path: NotRequired[str]
    index: int
    bk_host_id: int
    outcome: Outcome
    service_instance_id: NotRequired[int | None]
    cmdb_id: NotRequired[int | None]
    processes: NotRequired[list[ProcessItem]]
    warnings: NotRequired[list[Warning_]]


class _Ours:
    """Annotates what our own code makes: checked only where it is read from JSON."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        checked = handler(source)
        return core_schema.json_or_python_schema(json_schema=checked, python_schema=core_schema.any_schema())


Items = Annotated[tuple[Item, ...], _Ours]


def failed_item(index: int, bk_host_id: int, refused: Refused, *, outcome: Outcome = Outcome.FAILED) -> Item:
    """An instance that was not created, and why.

    With `Outcome.SKIPPED` nothing is wrong with the instance itself: `refused` is what ended the whole request.
    """
    problem = Problem.of(refused).model_dump(exclude_defaults=True)
    return {**problem, "index": index, "bk_host_id": bk_host_id, "outcome": outcome}  # type: ignore[typeddict-item]


def repeated_item(first: Item, index: int) -> Item:
    """The item of a later instance of the same request with the same key and content: the same ids, existing."""
    item: Item = {**first, "index": index, "outcome": Outcome.EXISTING}
    if "processes" in item:
        item["processes"] = [{**process, "outcome": Outcome.EXISTING} for process in item["processes"]]
    item["warnings"] = [Warning_(path=f"instances[{index}]", reason=Reason.DUPLICATE_IN_REQUEST)]
    return item


def with_cmdb_ids(item: Item, instances: Mapping[int, int], processes: Mapping[int, int]) -> Item:
    """The item with CMDB's ids, as far as they are among those given by ids of ours."""
    found: Item = {**item}
    id_ = item.get("service_instance_id")
    if id_ is not None and id_ in instances:
        found["cmdb_id"] = instances[id_]
    if "processes" in item:
        found["processes"] = [_with_cmdb_id(process, processes) for process in item["processes"]]
    return found


def _with_cmdb_id(process: ProcessItem, ids: Mapping[int, int]) -> ProcessItem:
    id_ = process.get("bk_process_id")
    return process if id_ is None or id_ not in ids else {**process, "cmdb_id": ids[id_]}


def without_new_ids(item: Item) -> Item:
    """The item as a dry run shows it: what would be created has no id."""
    shown: Item = {**item}
    if item["outcome"] is Outcome.CREATED:
        shown.pop("service_instance_id", None)
    if "processes" in item:
        shown["processes"] = [_without_new_id(process) for process in item["processes"]]
    return shown


def _without_new_id(process: ProcessItem) -> ProcessItem:
    shown: ProcessItem = {**process}
    if process["outcome"] is Outcome.CREATED:
        shown.pop("bk_process_id", None)
    return shown


def item_problem(item: Item) -> Problem:
    """Why an instance was not created; code 0 where it was."""
    return Problem(code=item.get("code", 0), message_args=item.get("message_args", ()), path=item.get("path", ""))


@dataclass(frozen=True, slots=True)
class Statistics:
    """Counters over the items; the total always adds up, else it raises `ValueError`."""

    total_count: int = 0
    success_count: int = 0
    failed_count: int = 0
    pending_count: int = 0
    running_count: int = 0

    def __post_init__(self) -> None:
        if self.total_count != self.success_count + self.failed_count + self.pending_count + self.running_count:
            raise ValueError("the counters do not add up to total_count")

    def counters(self) -> dict[str, int]:
        """Each by its name."""
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def of(cls, items: Sequence[Item], status: Status, total: int | None = None) -> Self:
        """Count `items`. Instances without an item (`total` says how many there are) count by `status`.

        Skipped instances count as failed: their rows are not there.
        """
        total = len(items) if total is None else total
        outcomes = [item["outcome"] for item in items]
        success = sum(map(outcomes.count, SUCCESSES))
        if total == len(items):
            return cls(total_count=total, success_count=success, failed_count=total - success)
        counts = {"success_count": success, "failed_count": len(items) - success}
        rest = {Status.PENDING: "pending_count", Status.RUNNING: "running_count", Status.SUCCESS: "success_count"}
        name = rest.get(status, "failed_count")
        counts[name] = counts.get(name, 0) + total - len(items)
        return cls(total_count=total, **counts)


class JobPart(BaseModel):
    """One batch of a job: the `number`-th from 0, whose first instance is the job's `first`-th.

    The last one says so. Hence whoever has all of them knows that they are all, however little else is left.
    """

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    job_id: str
    number: int
    first: int
    is_last: bool = False

    def dump(self) -> str:
        """As it stands in a pending entry: ``<job_id> <number> <first> <0 or 1>``."""
        return f"{self.job_id} {self.number} {self.first} {int(self.is_last)}"

    @classmethod
    def load(cls, stored: str | bytes | None) -> Self | None:
        """What `dump` wrote; None for nothing, a request that is no part of a job."""
        if not stored:
            return None
        text = stored if isinstance(stored, str) else stored.decode()
        job_id, number, first, is_last = text.split(" ")
        return cls(job_id=job_id, number=int(number), first=int(first), is_last=is_last == "1")
