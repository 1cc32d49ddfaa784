"""What the rules answer: the rows a batch asks for, before anyone looked whether they exist, and the warnings.

With what holds for every row, whichever module it is for: what may be stored in a process (CMDB 3.1,
M/attribute.go:177-240), what must differ within one service instance (4.4), and the name CMDB gives an instance that
came without one (CP/service_instance.go:692-725).
"""

import hashlib
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from contract.codes import Code, Reason, Refused
from contract.request.batch import MAX_NAME_BYTES, PROCESS_PROPERTIES, PropertyRule
from worker.expand.catalogue import Host

MAX_WARNINGS: Final = 100
"""Of one plan; a caller who ignores a hundred reads no more of them."""


class PlannedBind(NamedTuple):
    """One bind row; the natural key is (bk_host_id, bk_process_id, template_row_id)."""

    template_row_id: int
    ip: str
    port: str
    protocol: str
    enable: bool


@dataclass(slots=True)  # not frozen: that takes three times as long to make, and a request has hundreds
class PlannedProcess:
    """One process. `values` has every scalar property of `contract.request.batch.PROCESS_PROPERTIES`, by CMDB's name.

    `item` is the index of the request's process item behind it, None when only a template asks for the process. It
    says where the process came from, not what it is, and does not count when processes are compared.
    """

    process_template_id: int
    values: Mapping[str, Any]
    bind_info: tuple[PlannedBind, ...] = ()
    item: int | None = field(default=None, compare=False)

    @property
    def bk_process_name(self) -> str:
        """The alias, unique within the instance."""
        name: str = self.values["bk_process_name"]
        return name


@dataclass(slots=True)  # as above
class PlannedInstance:
    """One service instance; the natural key is (bk_module_id, bk_host_id, instance_key).

    Instances of one plan that have the same `place` have the same `processes`: the place of their list in the plan.
    `duplicate_of` is the index of an earlier instance of the same request with the same key and content; such an
    instance brings no rows of its own and gets the same id. `is_name_given`: the caller chose the name, so an existing
    instance with another one differs from what was asked.
    """

    index: int
    bk_host_id: int
    instance_key: str
    name: str
    processes: tuple[PlannedProcess, ...]
    place: int
    duplicate_of: int | None = None
    is_name_given: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """All instances that can be written, in input order, and those that cannot, by input index."""

    bk_biz_id: int
    bk_module_id: int
    service_template_id: int
    instances: tuple[PlannedInstance, ...]
    refused: Mapping[int, Refused] = field(default_factory=dict)
    warnings: tuple[tuple[str, Reason], ...] = ()
    """(field path, reason) pairs, `Reason.MORE` at "" after too many; never values."""


class Where(NamedTuple):
    """One process of one instance: the index of its item in the request, or its template when the request has none."""

    instance: int
    item: int | None
    process_template_id: int = 0

    def path(self, field: str = "") -> str:
        """Return the path of a field of ``process_info``, or of ``process_info`` itself, from the body's root."""
        process = f"process_template_id={self.process_template_id}" if self.item is None else self.item
        return f"instances[{self.instance}].processes[{process}].process_info{field and '.'}{field}"

    def in_template(self) -> "Where":
        """Return the same process as its template's: to blame for what no caller sent."""
        return self._replace(item=None)


# Not `Reason.LOCKED`: another value for a locked property is never an error (CMDB A23).
_IGNORED: Final = frozenset(
    {Reason.TEMPLATE_UNMATCHED, Reason.TEMPLATE_REPEATED, Reason.TEMPLATE_UNUSED, Reason.ROW_UNMATCHED}
)


class Warnings:
    """The first (path, reason) pairs in the order they were found; what comes after them is not kept.

    With `strict`, the paths of what would only be ignored go to `ignored` instead, all of them.
    """

    def __init__(self, *, strict: bool = False) -> None:
        self.ignored: list[str] = []
        self.found = 0
        """How many there were, kept or not."""
        self._strict = strict
        self._kept: list[tuple[str, Reason]] = []
        self._is_full = False

    def add(self, where: Where, field: str, reason: Reason) -> None:
        """Warn about a field of ``process_info``."""
        if self._strict or self._has_room():
            self.add_path(where.path(field), reason)
        else:
            self.found += 1

    def add_path(self, path: str, reason: Reason) -> None:
        """Warn about any other field."""
        self.found += 1
        if self._strict and reason in _IGNORED:
            self.ignored.append(path)
        elif self._has_room():
            self._kept.append((path, reason))

    def _has_room(self) -> bool:
        if len(self._kept) < MAX_WARNINGS:
            return True
        self._is_full = True
        return False

    def pairs(self) -> tuple[tuple[str, Reason], ...]:
        """Return at most `MAX_WARNINGS` pairs, then `Reason.MORE` at the path "" when there were others."""
        return (*self._kept, ("", Reason.MORE)) if self._is_full else tuple(self._kept)


DEFAULTS: Final[Mapping[str, Any]] = {name: rule.default for name, rule in PROCESS_PROPERTIES.items()}
"""What an unbound process stores in a property that was not sent: "" for text, False for bool, None for int."""

_SHORT: Final = min(rule.max_bytes for rule in PROCESS_PROPERTIES.values() if rule.max_bytes) // 4
"""Characters of a text that fits everywhere: UTF-8 takes at most 4 bytes for each."""
_REQUIRED: Final = frozenset(name for name, rule in PROCESS_PROPERTIES.items() if rule.required)
_SURE: Final = {
    name: (rule.minimum or 0, rule.maximum or 1) for name, rule in PROCESS_PROPERTIES.items() if rule.type != "text"
}
"""Numbers and booleans that need no closer look."""


def first_problem(values: Mapping[str, Any], among: Container[str] = PROCESS_PROPERTIES) -> tuple[str, Code] | None:
    """Return the first of `values`, all of the right JSON type, that cannot be stored, and why; None when all can.

    Only those `among` are looked at. `Code.PARAM_REQUIRED` for an empty or null required text, `Code.VALUE_INVALID`
    outside the range or beyond the limit in bytes of UTF-8. Null is a value of every property that is not required.
    """
    for name, value in values.items():
        if type(value) is str:
            if len(value) <= _SHORT and (value or name not in _REQUIRED):
                continue
        elif name in _SURE and value is not None:
            low, high = _SURE[name]
            if low <= value <= high:
                continue
        if name in among and (code := _problem(PROCESS_PROPERTIES[name], value)) is not None:
            return name, code
    return None


def _problem(rule: PropertyRule, value: str | int | None) -> Code | None:
    if not value and rule.required:
        return Code.PARAM_REQUIRED
    if value is None or rule.type == "bool":
        return None
    if isinstance(value, str):
        return Code.VALUE_INVALID if rule.max_bytes is not None and len(value.encode()) > rule.max_bytes else None
    fits = (rule.minimum is None or value >= rule.minimum) and (rule.maximum is None or value <= rule.maximum)
    return None if fits else Code.VALUE_INVALID


def func_key(values: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return what must be unique beside the name; None when the start regex is null, which never collides."""
    regex = values.get("bk_start_param_regex")
    return None if regex is None else (values["bk_func_name"], regex)


def check_processes_differ(index: int, processes: Sequence[PlannedProcess]) -> None:
    """Check that names differ, and that function and start regex together do.

    Raises:
        Refused: 1199014 naming both fields, or 1108008 when neither process has anything from the caller (CMDB V20).
    """
    if len(processes) < 2:
        return
    names: dict[Any, PlannedProcess] = {}
    funcs: dict[Any, PlannedProcess] = {}
    for process in processes:
        first = names.setdefault(process.values["bk_process_name"], process)
        if first is not process:
            raise _refusal(index, first, process, "bk_process_name")
        key = func_key(process.values)
        if key is not None:
            first = funcs.setdefault(key, process)
            if first is not process:
                raise _refusal(index, first, process, "bk_func_name")


def _refusal(index: int, first: PlannedProcess, second: PlannedProcess, field: str) -> Refused:
    paths = [Where(index, process.item, process.process_template_id).path(field) for process in (first, second)]
    if first.item is None and second.item is None:
        return Refused.field(Code.CREATE_PROCESS_FAILED, paths[1])
    return Refused(Code.DUPLICATE, ", ".join(paths), path=paths[1])


_MAX_KEY_BYTES: Final = 2000
# More characters than a given name has bytes: no caller can send the key of a name that was generated.
_KEPT_OF_A_LONG_NAME: Final = MAX_NAME_BYTES + 1


def generate_name(host: Host, bk_process_name: str | None, ports: Iterable[str | None]) -> str:
    """Join the host's inner addresses, the first process's name and its first port with ``_``; skip what is missing.

    Args:
        host: all its inner IPv4 addresses count, comma-joined as CMDB shows them; the IPv6 ones when there are none.
        bk_process_name: of the first process.
        ports: of the first process's bind rows in order; the first one that is set is taken.
    """
    return with_address(host, name_tail(bk_process_name, ports))


def name_tail(bk_process_name: str | None, ports: Iterable[str | None]) -> str:
    """The part of a generated name that is the same on all hosts."""
    port = next((port for port in ports if port), None)
    return "_".join(part for part in (bk_process_name, port) if part)


def with_address(host: Host, tail: str) -> str:
    """The whole name: what `generate_name` makes of the host and what `tail` was made of."""
    address = host.bk_host_innerip or host.bk_host_innerip_v6
    return f"{address}_{tail}" if address and tail else address or tail


def unbound_key(name: str) -> str:
    """Return the `instance_key` of an instance of that name in a module without a service template.

    It is the name, or a digest of it where the name is longer than 2000 bytes: a host may have any number of addresses,
    CMDB sets no limit to a generated name, and a row of an index of PostgreSQL's holds 2704 bytes.
    """
    encoded = name.encode()
    if len(encoded) <= _MAX_KEY_BYTES:
        return name
    return f"{name[:_KEPT_OF_A_LONG_NAME]} {hashlib.sha256(encoded).hexdigest()}"
