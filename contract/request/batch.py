"""The request: its models, its limits and its canonical form. `parse` makes a batch of JSON.

Only what needs no database is checked here: JSON types, counts, ids, and that every text can be stored. Ranges,
lengths and formats of process and bind values are the worker's, because a bad value of a field that the template locks
is not an error. Presence matters and is kept in ``model_fields_set``: an absent property takes the template's value,
a null one stores null (CMDB 3.6).

Texts of process properties are trimmed here, as CMDB trims them before it validates (Unicode white space, both ends);
``service_instance_name`` and the columns of a bind row are kept exactly as sent.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, NamedTuple

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints
from pydantic_core import PydanticCustomError

from plumbing.lru import Recent

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


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class _Sparse(_Frozen):
    """A row of which only the given columns count: absent and null differ, in `==` too."""

    def __eq__(self, other: object) -> bool:
        return super().__eq__(other) and isinstance(other, _Sparse) and self.model_fields_set == other.model_fields_set

    def __hash__(self) -> int:
        return hash(frozenset((name, getattr(self, name)) for name in self.model_fields_set))


class BindRow(_Sparse):
    """One row of ``bind_info``. `protocol` is CMDB's enum text: "1" TCP, "2" UDP, "3" TCP6, "4" UDP6."""

    template_row_id: Int | None = None
    ip: Verbatim | None = None
    port: Verbatim | None = None
    protocol: Verbatim | None = None
    enable: Bool | None = None


class ProcessInfo(_Sparse):
    """The properties of one process: CMDB 3.1, and the two that its documentation still lists (the last two)."""

    bk_process_name: Annotated[Text | None, _NAME] = None
    bk_func_name: Annotated[Text | None, _NAME] = None
    bk_start_param_regex: Annotated[Text | None, _LONG] = None
    description: Annotated[Text | None, _SHORT] = None
    work_path: Annotated[Text | None, _LONG] = None
    user: Annotated[Text | None, _SHORT] = None
    start_cmd: Annotated[Text | None, _LONG] = None
    stop_cmd: Annotated[Text | None, _LONG] = None
    restart_cmd: Annotated[Text | None, _LONG] = None
    face_stop_cmd: Annotated[Text | None, _LONG] = None
    reload_cmd: Annotated[Text | None, _LONG] = None
    pid_file: Annotated[Text | None, _LONG] = None
    auto_start: Annotated[Bool | None, PropertyRule("bool", default=False)] = None
    proc_num: Annotated[Int | None, _whole(1, 10_000)] = None
    timeout: Annotated[Int | None, _whole(1, 10_000)] = None
    """Seconds."""
    priority: Annotated[Int | None, _whole(-100, 10_000)] = None
    bk_start_check_secs: Annotated[Int | None, _whole(0, 600)] = None
    """Seconds."""
    auto_time_gap: Annotated[Int | None, _whole(1, 10_000)] = None
    """Seconds."""
    bk_func_id: Annotated[Text | None, _SHORT] = None
    bind_info: tuple[BindRow, ...] | None = None


PROCESS_PROPERTIES: Final[Mapping[str, PropertyRule]] = {
    name: rule
    for name, info in ProcessInfo.model_fields.items()
    for rule in info.metadata
    if isinstance(rule, PropertyRule)
}
"""Every scalar property by CMDB's name, in the order of `ProcessInfo`."""


class ProcessSpec(_Frozen):
    """One process of an instance. `process_info` is None when neither it nor a property beside it was sent."""

    process_template_id: Annotated[int, Field(**_WHOLE, gt=-1)] = 0
    process_info: ProcessInfo | None = None


class InstanceSpec(_Frozen):
    """One service instance. Without `service_instance_name` (or with an empty one) the worker names it (CMDB 4.3)."""

    bk_host_id: Id
    service_instance_name: Annotated[Verbatim, AfterValidator(_fits)] | None = None
    processes: tuple[ProcessSpec, ...] = ()


class BatchHead(_Frozen):
    """What a batch says besides its instances."""

    bk_biz_id: Id
    bk_module_id: Id
    on_existing: Literal["reuse", "fail", "clone"] = "reuse"
    mode: Literal["atomic", "partial"] = "atomic"
    strict: Bool = False
    """Refuse what would only be ignored with a warning: unknown keys, processes and bind rows that match nothing."""


class ServiceInstanceBatch(BatchHead):
    """What one request asks for: up to 100 service instances in one module.

    ``model_validate`` of ``model_dump(mode="json", exclude_unset=True)`` gives an equal batch again.
    """

    instances: Annotated[tuple[InstanceSpec, ...], Field(min_length=1, max_length=MAX_INSTANCES)]

    def canonical(self) -> bytes:
        """The meaning as bytes: what was given, field by field, defaults filled in where absent means the default."""
        lists: dict[tuple[int, ...], str] = {}  # most instances share theirs, and that is most of the work
        instances = []
        for instance in self.instances:
            key = tuple(map(id, instance.processes))
            if key not in lists:
                lists[key] = texts_of_processes(instance.processes).canonical
            name = json.dumps(instance.service_instance_name) if instance.service_instance_name else "null"
            instances.append(f"[{instance.bk_host_id},{name},[{lists[key]}]]")
        strict = "true" if self.strict else "false"
        head = f'[{self.bk_biz_id}, {self.bk_module_id}, "{self.on_existing}", "{self.mode}", {strict}]'
        return f"[{head},[{','.join(instances)}]]".encode()

    def digest(self) -> str:
        """SHA-256 of `canonical`, 64 hex digits."""
        return hashlib.sha256(self.canonical()).hexdigest()


REMEMBERED_LISTS: Final = 128
"""Callers ask for the same processes again and again: so many lists of them are kept, the latest, for each purpose."""
REMEMBERED_LENGTH: Final = 8 * 1024
"""Of a list as text, beyond which it is not kept."""


class Texts(NamedTuple):
    """What is written of a list of processes, without the brackets around it."""

    canonical: str
    """In `ServiceInstanceBatch.canonical`."""
    stored: str
    """As JSON objects: every field that was given."""


class TextsOfProcesses:
    """The texts of a list of processes. By the objects: what is read once (`contract.request.parse`) is written once.

    Args:
        write: makes the texts.
    """

    def __init__(self, write: Callable[[tuple[ProcessSpec, ...]], Texts]) -> None:
        self._write = write
        # With the processes themselves, so that their ids stay their own.
        self._known: Recent[tuple[int, ...], tuple[tuple[ProcessSpec, ...], Texts]] = Recent(REMEMBERED_LISTS)

    def __call__(self, processes: tuple[ProcessSpec, ...]) -> Texts:
        """The texts of `processes`."""
        key = tuple(map(id, processes))
        known = self._known.get(key)
        if known is None:
            known = processes, self._write(processes)
            if len(known[1].stored) <= REMEMBERED_LENGTH:
                self._known.put(key, known)
        return known[1]


def _texts(processes: Iterable[ProcessSpec]) -> Texts:
    pairs = [_texts_of(process) for process in processes]
    return Texts(",".join([pair[0] for pair in pairs]), ",".join([pair[1] for pair in pairs]))


def _texts_of(process: ProcessSpec) -> tuple[str, str]:
    given, id_, info = process.model_fields_set, process.process_template_id, process.process_info
    # pydantic writes the fields in the order of the class, whatever order they were given in.
    stored = "null" if info is None else info.model_dump_json(exclude_unset=True)
    meant = stored
    if info is not None and not info.bind_info and "bind_info" in info.model_fields_set:
        meant = info.model_dump_json(exclude_unset=True, exclude={"bind_info"})
    fields = []
    if "process_template_id" in given:
        fields.append(f'"process_template_id":{id_}')
    if "process_info" in given:
        fields.append(f'"process_info":{stored}')
    return f"[{id_},{meant}]", f"{{{','.join(fields)}}}"


texts_of_processes: Final = TextsOfProcesses(_texts)
"""Most instances share theirs with others, of this request or the one before, and that is most of the work."""
