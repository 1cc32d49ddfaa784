"""The request: its types, its limits and its digest. `contract.request.parse` makes a batch of JSON.

A request's data is plain typed dictionaries. A key that is there was given, one that is not was not: an absent property
takes the template's value, a null one stores null (CMDB 3.6). What pydantic has checked has its keys in the order of
the class, so that equal values are equal bytes.

Only what needs no database is checked here: JSON types, counts, ids, and that every text can be stored. Ranges,
lengths and formats of process and bind values are the worker's, because a bad value of a field that the template locks
is not an error.

Texts of process properties are trimmed here, as CMDB trims them before it validates (Unicode white space, both ends);
``service_instance_name`` and the columns of a bind row are kept exactly as sent.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, NotRequired, Self, TypeAlias, cast

import orjson
from pydantic import AfterValidator, ConfigDict, Field, StringConstraints, TypeAdapter
from pydantic_core import PydanticCustomError
from typing_extensions import TypedDict  # before Python 3.12 pydantic takes no other

MAX_INSTANCES: Final = 100
"""CMDB V3."""
MAX_ROWS: Final = 20_000
"""Processes and bind rows of one request together: CMDB sets no limit, but parsing a body must stay cheap."""
MAX_ERRORS: Final = 20
"""Listed for one request; the rest is not looked for."""
MAX_WARNINGS: Final = 100
"""Listed from one source (reading the body, applying the templates), then one that says there were more."""
MAX_NAME_BYTES: Final = 256
"""Of a ``service_instance_name`` (CMDB V10)."""
MAX_INT64: Final = 2**63 - 1


def _fits(name: str) -> str:
    if len(name.encode()) > MAX_NAME_BYTES:
        raise PydanticCustomError("name_too_long", "longer than 256 bytes")
    return name


_WHOLE: dict[str, Any] = {"strict": True, "ge": -MAX_INT64 - 1, "le": MAX_INT64}
Int = Annotated[int, Field(**_WHOLE)]
Id = Annotated[int, Field(**_WHOLE, gt=0)]
Bool = Annotated[bool, Field(strict=True)]
# PostgreSQL has no NUL in text; lone surrogates are refused by pydantic itself.
Verbatim = Annotated[str, StringConstraints(strict=True, pattern=r"^[^\x00]*$")]
Text = Annotated[str, StringConstraints(strict=True, pattern=r"^[^\x00]*$", strip_whitespace=True)]
# A name is shown in lists, logs and terminals: nothing in it may end a line, move a cursor or turn the text around.
_OF_NAMES: Final = r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]*$"
NameText = Annotated[str, StringConstraints(strict=True, pattern=_OF_NAMES, strip_whitespace=True)]
OnExisting = Annotated[Literal["reuse", "fail", "clone"], Field(json_schema_extra={"default": "reuse"})]
Mode = Annotated[Literal["atomic", "partial"], Field(json_schema_extra={"default": "atomic"})]
Name = Annotated[str, StringConstraints(strict=True, pattern=_OF_NAMES), AfterValidator(_fits)]
_NO_OTHERS: Final = ConfigDict(extra="forbid")


@dataclass(frozen=True, slots=True)
class PropertyRule:
    """What may be stored in one scalar property of a process (CMDB 3.1), for the worker to check after the merge.

    `minimum` and `maximum` are inclusive; `max_bytes` counts UTF-8. `required`: must be there and not be empty.
    `default` is stored when the property is absent in an unbound module.
    """

    type: Literal["text", "int", "bool"]
    minimum: int | None = None
    maximum: int | None = None
    max_bytes: int | None = None
    required: bool = False
    default: str | bool | None = None


_NAME = PropertyRule("text", max_bytes=256, required=True)
_SHORT = PropertyRule("text", max_bytes=256, default="")
_LONG = PropertyRule("text", max_bytes=2000, default="")


def _whole(minimum: int, maximum: int) -> PropertyRule:
    return PropertyRule("int", minimum=minimum, maximum=maximum)


class BindRow(TypedDict, total=False):
    """One row of ``bind_info``. `protocol` is CMDB's enum text: "1" TCP, "2" UDP, "3" TCP6, "4" UDP6."""

    __pydantic_config__ = _NO_OTHERS  # type: ignore[misc] # as pydantic documents it

    template_row_id: Int | None
    ip: Verbatim | None
    port: Verbatim | None
    protocol: Verbatim | None
    enable: Bool | None


class Properties(TypedDict, total=False):
    """The scalar properties of one process: CMDB 3.1, and the two that its documentation still lists (the last two)."""

    __pydantic_config__ = _NO_OTHERS  # type: ignore[misc] # as pydantic documents it

    bk_process_name: Annotated[NameText | None, _NAME]
    bk_func_name: Annotated[NameText | None, _NAME]
    bk_start_param_regex: Annotated[Text | None, _LONG]
    description: Annotated[Text | None, _SHORT]
    work_path: Annotated[Text | None, _LONG]
    user: Annotated[Text | None, _SHORT]
    start_cmd: Annotated[Text | None, _LONG]
    stop_cmd: Annotated[Text | None, _LONG]
    restart_cmd: Annotated[Text | None, _LONG]
    face_stop_cmd: Annotated[Text | None, _LONG]
    reload_cmd: Annotated[Text | None, _LONG]
    pid_file: Annotated[Text | None, _LONG]
    auto_start: Annotated[Bool | None, PropertyRule("bool", default=False)]
    proc_num: Annotated[Int | None, _whole(1, 10_000)]
    timeout: Annotated[Int | None, _whole(1, 10_000)]
    """Seconds."""
    priority: Annotated[Int | None, _whole(-100, 10_000)]
    bk_start_check_secs: Annotated[Int | None, _whole(0, 600)]
    """Seconds."""
    auto_time_gap: Annotated[Int | None, _whole(1, 10_000)]
    """Seconds."""
    bk_func_id: Annotated[Text | None, _SHORT]


class ProcessInfo(Properties, total=False):
    """All that is said of one process."""

    bind_info: list[BindRow] | None


PROCESS_PROPERTIES: Final[Mapping[str, PropertyRule]] = {
    name: rule
    for name, type_ in Properties.__annotations__.items()
    for rule in type_.__metadata__
    if isinstance(rule, PropertyRule)
}
"""Every scalar property by CMDB's name, in the order of `Properties`."""


class ProcessHead(TypedDict, total=False):
    """Which template a process is of; absent means 0, which is none."""

    __pydantic_config__ = _NO_OTHERS  # type: ignore[misc] # as pydantic documents it

    process_template_id: Annotated[int, Field(**_WHOLE, gt=-1)]


class Process(ProcessHead, total=False):
    """One process of an instance. `process_info` is absent when neither it nor a property beside it was sent."""

    process_info: ProcessInfo


class InstanceHead(TypedDict):
    """One service instance. Without `service_instance_name` (or with an empty one) the worker names it (CMDB 4.3)."""

    __pydantic_config__ = _NO_OTHERS  # type: ignore[misc] # as pydantic documents it

    bk_host_id: Id
    service_instance_name: NotRequired[Name]


class BatchHead(TypedDict):
    """What a batch says besides its instances."""

    __pydantic_config__ = _NO_OTHERS  # type: ignore[misc] # as pydantic documents it

    bk_biz_id: Id
    bk_module_id: Id
    on_existing: NotRequired[OnExisting]
    mode: NotRequired[Mode]
    strict: NotRequired[Bool]
    """Refuse what would only be ignored with a warning: unknown keys, processes and bind rows that match nothing."""


ProcessList: TypeAlias = list[Process]
"""What one instance asks for. Equal lists are one list of the batch, known by its place there."""
Instance: TypeAlias = tuple[Id, Name | None, Annotated[int, Field(strict=True, ge=0)] | None]
"""``(bk_host_id, service_instance_name, place of its process list)``; None where it was not given."""


@dataclass(frozen=True, slots=True)
class ServiceInstanceBatch:
    """What one request asks for: up to 100 service instances in one module.

    A pending entry holds the same fields as JSON.
    """

    __pydantic_config__ = _NO_OTHERS

    bk_biz_id: Id
    bk_module_id: Id
    processes: list[ProcessList]
    """The distinct process lists."""
    instances: Annotated[list[Instance], Field(min_length=1, max_length=MAX_INSTANCES)]
    on_existing: OnExisting = "reuse"
    mode: Mode = "atomic"
    strict: Bool = False

    @classmethod
    def checked(cls, values: Mapping[str, Any]) -> Self:
        """The batch of these fields, whoever wrote them.

        Raises:
            pydantic.ValidationError: something is not as the types have it.
        """
        return cast("Self", _BATCH.validate_python(values))

    @classmethod
    def trusted(cls, values: Mapping[str, Any]) -> Self:
        """The batch of fields that were checked before they were written down."""
        return cls(**{**values, "instances": list(map(tuple, values["instances"]))})

    @property
    def bk_host_ids(self) -> list[int]:
        """The host of each instance."""
        return [bk_host_id for bk_host_id, _, _ in self.instances]

    def asked(self, place: int | None) -> Sequence[Process]:
        """The process list at `place`."""
        return () if place is None else self.processes[place]

    def canonical(self) -> bytes:
        """The meaning as bytes: what was given, defaults filled in where absent means the default."""
        meanings = [orjson.dumps(list(map(_meaning, list_))) for list_ in self.processes]
        places: dict[bytes, int] = {}
        instances = [
            (bk_host_id, name or None, places.setdefault(b"[]" if place is None else meanings[place], len(places)))
            for bk_host_id, name, place in self.instances
        ]
        head = (self.bk_biz_id, self.bk_module_id, self.on_existing, self.mode, self.strict)
        return orjson.dumps((head, list(map(orjson.Fragment, places)), instances))

    def digest(self) -> str:
        """SHA-256 of `canonical`, 64 hex digits."""
        return hashlib.sha256(self.canonical()).hexdigest()


_BATCH: Final = TypeAdapter(ServiceInstanceBatch)


def _meaning(process: Process) -> tuple[int, Mapping[str, Any] | None]:
    """A process without what says no more than its absence: template 0, no bind rows."""
    info = process.get("process_info")
    if info is not None and not info.get("bind_info", True):
        return process.get("process_template_id", 0), {name: info[name] for name in info if name != "bind_info"}  # type: ignore[literal-required]
    return process.get("process_template_id", 0), info


class InstanceBody(InstanceHead):
    """An instance as a caller writes it."""

    processes: NotRequired[ProcessList]


class BatchBody(BatchHead):
    """A batch as a caller writes it: the body of ``POST /v1/batches``."""

    instances: Annotated[list[InstanceBody], Field(min_length=1, max_length=MAX_INSTANCES)]
