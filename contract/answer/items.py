"""What became of one instance of a request, and why: values to store, rendered when somebody reads.

Nothing here holds a value that the caller sent: paths, numbers, ids.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated, Any, Final, NotRequired, Protocol, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema
from typing_extensions import TypedDict  # before Python 3.12 pydantic takes no other

from contract.codes import Code, Language, Reason, Refused, text


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


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)


class Warning_(_Frozen):  # noqa: N801 - `Warning` is a builtin
    """Something that was accepted but not taken as sent: a field path, never the value.

    `reason` is a `contract.codes.Reason`, or a text of its own.
    """

    path: str
    reason: str

    def document(self, language: Language = "en") -> dict[str, str]:
        """The warning as v1 shows it."""
        try:
            reason = Reason(self.reason)
        except ValueError:
            return {"path": self.path, "reason": self.reason, "message": self.reason}
        message = reason.english if language == "en" else reason.chinese
        return {"path": self.path, "reason": self.reason, "message": message}


class Said(Protocol):
    """What a message is made of."""

    @property
    def code(self) -> int:
        """A `Code`."""

    @property
    def message_args(self) -> tuple[Any, ...]:
        """What its text needs."""

    @property
    def path(self) -> str:
        """The field to blame; empty when it is none."""


class Problem(_Frozen):
    """A code with what its text needs: a `Refused` that can be stored."""

    code: int = 0
    message_args: MessageArgs = ()
    path: str = ""

    @classmethod
    def of(cls, said: Said) -> "Problem":
        """The code, the arguments and the path of a `Refused`, or of another problem."""
        return Problem(code=said.code, message_args=said.message_args, path=said.path)

    def message(self, language: Language = "en") -> str:
        """The text to show."""
        return _message(self, language)

    def document(self, language: Language = "en") -> dict[str, Any]:
        """The problem as an entry of v1's ``errors``."""
        return _document(self, language)


def _message(said: Said, language: Language) -> str:
    return text(Code(said.code), said.message_args, language, path=said.path)


def _document(said: Said, language: Language) -> dict[str, Any]:
    return {"path": said.path, "code": said.code, "message": _message(said, language)}


class ProcessItem(_Frozen):
    """One process of an instance."""

    bk_process_id: int | None = None
    process_template_id: int = 0
    bk_process_name: str | None = None
    outcome: Outcome


_OF_PROCESS: Final = {name: field.get_default() for name, field in ProcessItem.model_fields.items()}
"""The fields of a process in their order, with their defaults."""


class ProcessRecord(TypedDict):
    """A `ProcessItem` as it is stored."""

    bk_process_id: NotRequired[int | None]
    process_template_id: NotRequired[int]
    bk_process_name: NotRequired[str | None]
    outcome: Outcome


class ItemRecord(TypedDict):
    """An `Item` as it is stored: in this order, and without what has its default (null, 0, empty)."""

    code: NotRequired[int]
    message_args: NotRequired[MessageArgs]
    path: NotRequired[str]
    index: int
    bk_host_id: int
    outcome: Outcome
    service_instance_id: NotRequired[int | None]
    processes: NotRequired[list[ProcessRecord]]
    warnings: NotRequired[list[dict[str, str]]]


class Item:
    """One instance of the request. `data` of the envelope holds the same ids in the same order.

    A request has up to a hundred, with up to thousands of processes, and mostly nobody looks inside. So an item is its
    stored form, `record`, and its properties read that. It is not changed once it is made.
    """

    __slots__ = ("record",)

    def __init__(
        self,
        *,
        index: int,
        bk_host_id: int,
        outcome: Outcome,
        service_instance_id: int | None = None,
        processes: Iterable[ProcessItem] = (),
        warnings: Iterable[Warning_] = (),
    ) -> None:
        record: ItemRecord = {"index": index, "bk_host_id": bk_host_id, "outcome": outcome}
        if service_instance_id is not None:
            record["service_instance_id"] = service_instance_id
        if stored := [process_record(process) for process in processes]:
            record["processes"] = stored
        if said := [warning.model_dump() for warning in warnings]:
            record["warnings"] = said
        self.record = record

    @classmethod
    def stored(cls, record: ItemRecord) -> Self:
        """The item of a record, which is not copied."""
        item = cls.__new__(cls)
        item.record = record
        return item

    @classmethod
    def failed(cls, index: int, bk_host_id: int, refused: Refused, *, outcome: Outcome = Outcome.FAILED) -> Self:
        """An instance that was not created, and why.

        With `Outcome.SKIPPED` nothing is wrong with the instance itself: `refused` is what ended the whole request.
        """
        problem = Problem.of(refused).model_dump(exclude_defaults=True)
        return cls.stored({**problem, "index": index, "bk_host_id": bk_host_id, "outcome": outcome})  # type: ignore[typeddict-item]

    def repeated_at(self, index: int) -> Self:
        """The item of a later instance of the same request with the same key and content: the same ids, existing."""
        record = self.record.copy()
        record["index"] = index
        record["outcome"] = Outcome.EXISTING
        if "processes" in record:
            record["processes"] = [{**process, "outcome": Outcome.EXISTING} for process in record["processes"]]
        record["warnings"] = [Warning_(path=f"instances[{index}]", reason=Reason.DUPLICATE_IN_REQUEST).model_dump()]
        return self.stored(record)

    def without_new_ids(self) -> Self:
        """The item as a dry run shows it: what would be created has no id."""
        record = self.record.copy()
        if self.outcome is Outcome.CREATED:
            record.pop("service_instance_id", None)
        if "processes" in record:
            record["processes"] = [
                process_record(process.model_copy(update={"bk_process_id": None}))
                if process.outcome is Outcome.CREATED
                else process_record(process)
                for process in self.processes
            ]
        return self.stored(record)

    @property
    def index(self) -> int:
        """The instance's place in the request."""
        return self.record["index"]

    @property
    def bk_host_id(self) -> int:
        """Its host."""
        return self.record["bk_host_id"]

    @property
    def outcome(self) -> Outcome:
        """What became of it."""
        return self.record["outcome"]

    @property
    def service_instance_id(self) -> int | None:
        """None where it does not exist."""
        return self.record.get("service_instance_id")

    @property
    def processes(self) -> tuple[ProcessItem, ...]:
        """What became of its processes."""
        return tuple(ProcessItem(**process) for process in self.record.get("processes", ()))

    @property
    def warnings(self) -> tuple[Warning_, ...]:
        """What this one instance could not have as asked: `Reason.DIFFERS`, `Reason.DUPLICATE_IN_REQUEST`."""
        return tuple(Warning_(**warning) for warning in self.record.get("warnings", ()))

    @property
    def code(self) -> int:
        """Why it was not created; 0 where it was."""
        return self.record.get("code", 0)

    @property
    def message_args(self) -> tuple[Any, ...]:
        """What the text of `code` needs."""
        return self.record.get("message_args", ())

    @property
    def path(self) -> str:
        """The field to blame, if it is one."""
        return self.record.get("path", "")

    def message(self, language: Language = "en") -> str:
        """The text to show."""
        return _message(self, language)

    def document(self, language: Language = "en") -> dict[str, Any]:
        """The item as v1 shows it."""
        return {
            "index": self.index,
            "bk_host_id": self.bk_host_id,
            "outcome": self.outcome.value,
            "service_instance_id": self.service_instance_id,
            "processes": [
                {**_OF_PROCESS, **process, "outcome": process["outcome"].value}
                for process in self.record.get("processes", ())
            ],
            **_document(self, language),
            "warnings": [warning.document(language) for warning in self.warnings],
        }

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Item) and self.record == other.record

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Item({self.record})"

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """An item is validated, and dumped, as its record."""
        record = core_schema.no_info_after_validator_function(cls.stored, handler.generate_schema(ItemRecord))
        return core_schema.json_or_python_schema(
            json_schema=record,
            python_schema=core_schema.union_schema([core_schema.is_instance_schema(cls), record]),
            serialization=core_schema.plain_serializer_function_ser_schema(lambda item: item.record),
        )


def process_record(process: ProcessItem) -> ProcessRecord:
    """One process of an instance as it is stored."""
    record: ProcessRecord = process.model_dump(exclude_defaults=True)  # type: ignore[assignment]
    return record
