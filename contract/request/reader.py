"""The walk over a caller's JSON for `contract.request.parse`."""

from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeAlias, TypeVar, cast

import orjson
from pydantic import BaseModel, TypeAdapter, ValidationError

from contract.codes import Code, Reason, Refused
from contract.request.batch import (
    MAX_INSTANCES,
    MAX_ROWS,
    REMEMBERED_LENGTH,
    REMEMBERED_LISTS,
    BatchHead,
    BindRow,
    InstanceSpec,
    ProcessInfo,
    ProcessSpec,
    ServiceInstanceBatch,
)
from contract.request.findings import Check, EnoughErrors, Findings, shown_key
from contract.request.idempotency import parse_idempotency_key
from plumbing.lru import Recent

IDENTITY_KEYS: Final = frozenset(
    {"bk_app_code", "bk_app_secret", "bk_username", "bk_token", "app_code", "app_secret", "username", "access_token"}
    | {"bk_ticket", "bk_signature", "bk_timestamp", "bk_nonce"}
)
"""Top-level keys that say who calls (ESB's common arguments). Never part of a batch, a warning or a stored payload."""

_SERVER_OWNED: Final = frozenset(
    {"bk_supplier_account", "bk_biz_id", "bk_process_id", "service_instance_id", "create_time", "last_time"}
    | {"bk_created_by", "bk_created_at", "bk_updated_by", "bk_updated_at"}
)
# CMDB had these on a process until 2020; its documented example still sends the first.
_REPLACED: Final = frozenset(
    {"port", "protocol", "bind_ip", "bk_enable_port"}
    | {"bk_gateway_ip", "bk_gateway_port", "bk_gateway_protocol", "bk_gateway_city"}
)
_HEAD: Final = frozenset(BatchHead.model_fields)
_BODY: Final = _HEAD | {"instances", "client_request_id"} | IDENTITY_KEYS
_INSTANCE: Final = frozenset(InstanceSpec.model_fields)
_PROPERTIES: Final = frozenset(ProcessInfo.model_fields)
_PROCESS: Final = frozenset(ProcessSpec.model_fields) | _PROPERTIES
_ROW: Final = frozenset(BindRow.model_fields)

_CODES: Final = {
    "missing": Code.PARAM_REQUIRED,
    "int_type": Code.PARAM_NOT_INT,
    "less_than_equal": Code.PARAM_NOT_INT,  # beyond int64; ranges of values are the worker's
    "greater_than_equal": Code.PARAM_NOT_INT,
    "bool_type": Code.PARAM_NOT_BOOL,
    "string_type": Code.PARAM_NOT_TEXT,
}
_CHECK_OF_FIELD: Final = {
    "bk_module_id": Check.MODULE,
    "bk_biz_id": Check.BUSINESS,
    "bk_host_id": Check.HOST,
    "service_instance_name": Check.NAME,
}

_Seen = tuple[tuple[ProcessSpec, ...], int]
"""Processes that gave no cause for a word, and how many rows they are."""
_remembered: Final[Recent[bytes, _Seen]] = Recent(REMEMBERED_LISTS)
"""Callers ask for the same processes again and again, one host after the other: by their JSON, if it is not long."""

_PROCESSES: Final = TypeAdapter(tuple[ProcessSpec, ...])

M = TypeVar("M", bound=BaseModel)
_Made: TypeAlias = M | Mapping[str, Any]
"""An object by its model, or the values it will be made of."""


class Reader:
    """One walk over one body: shapes here, values by the models, errors and warnings on the side.

    Args:
        strict: refuse what would otherwise be ignored with a warning.
        at_once: have the models look at many objects in one call, which is several times faster, and can only tell that
            a body is right. What is wrong, and where, is told by a walk that has them look at one object at a time.
    """

    def __init__(self, *, strict: bool, at_once: bool) -> None:
        self.found = Findings()
        self._strict = strict
        self._at_once = at_once
        self._is_plain = True
        self._rows = 0
        self._seen: dict[bytes, _Seen] = {}

    def read(self, body: Mapping[str, Any]) -> ServiceInstanceBatch | None:
        """The batch; None when there is something wrong with it."""
        self._strict = self._strict or body.get("strict") is True
        given = self._known(body, _BODY, "")
        head = {name: value for name, value in _without_nulls(given).items() if name in _HEAD}
        try:
            self._model(BatchHead, head, "")
            self._key(given.get("client_request_id"))
            instances = list(self._instances(given.get("instances")))
            if self.found.errors:
                return None
            if self._strict:
                head["strict"] = True
            return ServiceInstanceBatch.model_validate({**head, "instances": instances})
        except EnoughErrors:
            return None
        except ValidationError:
            if not self._at_once:  # every part of it was right: a rule is missing here
                raise
            return None

    # The levels of the body -------------------------------------------------------------------------------------------

    def _key(self, key: object) -> None:
        try:
            if key is not None:
                parse_idempotency_key(key, "client_request_id")
        except Refused as refused:
            self.found.refuse(Check.WRONG_TYPE, refused.code, refused.path)

    def _instances(self, given: object) -> Iterator[_Made[InstanceSpec]]:
        if given is None or given == []:
            self.found.refuse(Check.NO_INSTANCES, Code.PARAM_REQUIRED, "instances")
            return
        if isinstance(given, list) and len(given) > MAX_INSTANCES:
            # Said before any item is looked at: 200,000 bad items must cost nothing.
            too_many = Refused(Code.TOO_MANY, "create service instances", MAX_INSTANCES, path="instances")
            self.found.note(Check.TOO_MANY, too_many)
            return
        for path, values in self._objects(given, "instances"):
            known = _without_nulls(self._known(values, _INSTANCE, path))
            if "processes" in known:
                known["processes"] = self._processes_once(known["processes"], path)
            instance = self._model(InstanceSpec, known, path)
            if instance is not None:
                yield instance

    def _processes_once(self, given: object, instance: str) -> tuple[_Made[ProcessSpec], ...]:
        """Like `_processes`; what was read before without a word is not read again, and is the same object."""
        key = _bytes_of(given)
        if key is None:
            return tuple(self._processes(given, f"{instance}.processes"))
        is_short = len(key) <= REMEMBERED_LENGTH
        seen = self._seen.get(key) or (_remembered.get(key) if is_short else None)
        if seen is not None:
            self._add_rows(seen[1])
        else:
            rows, found = self._rows, self.found.count
            processes = self._plain(given)
            if processes is None:
                processes = _PROCESSES.validate_python(tuple(self._processes(given, f"{instance}.processes")))
            if found != self.found.count:
                return processes
            seen = processes, self._rows - rows
            if is_short:
                _remembered.put(key, seen)
        self._seen[key] = seen
        return seen[0]

    def _plain(self, given: object) -> tuple[ProcessSpec, ...] | None:
        """`_processes` where they stand as the models have them, every key and every level; None where they don't."""
        if not (self._at_once and self._is_plain):
            return None
        rows = _plain_rows(given)
        if rows is None or self._rows + rows > MAX_ROWS:  # too many must cost nothing
            return None
        try:
            processes = _PROCESSES.validate_python(given)
        except ValidationError:
            self._is_plain = False  # one caller writes all of them in one way
            return None
        self._add_rows(rows)
        return processes

    def _processes(self, given: object, path: str) -> Iterator[_Made[ProcessSpec]]:
        self._count_rows(given)
        for at, values in self._objects(given, path):
            known = self._known(values, _PROCESS, at)
            spec: dict[str, Any] = {}
            if known.get("process_template_id") is not None:
                spec["process_template_id"] = known["process_template_id"]
            info = self._process_info(known, at)
            if info is not None:
                spec["process_info"] = info
            process = self._model(ProcessSpec, spec, at)
            if process is not None:
                yield process

    def _process_info(self, process: Mapping[str, Any], path: str) -> _Made[ProcessInfo] | None:
        """Merge what is inside ``process_info`` with the properties beside it; None when there is neither."""
        inside = process.get("process_info")
        at = f"{path}.process_info"
        if inside is not None and not isinstance(inside, dict):
            self.found.refuse(Check.WRONG_TYPE, Code.PARAM_INVALID, at)
            return None
        beside = [name for name in process if name in _PROPERTIES]
        if inside is None and not beside:
            return None
        nested = self._known(inside or {}, _PROPERTIES, at)
        paths = {name: path for name in beside if name not in nested}
        for name in beside:
            if name in nested:
                self._ignore(f"{path}.{name}", Reason.NESTED_WINS)
        merged = {**nested, **{name: process[name] for name in paths}}
        if merged.get("bind_info") is not None:
            rows = f"{paths.get('bind_info', at)}.bind_info"
            merged["bind_info"] = tuple(self._bind_rows(merged["bind_info"], rows))
        return self._model(ProcessInfo, merged, at, paths)

    def _bind_rows(self, given: object, path: str) -> Iterator[_Made[BindRow]]:
        if isinstance(given, dict):
            given = [given]
        self._count_rows(given)
        for at, values in self._objects(given, path):
            row = self._model(BindRow, self._known(values, _ROW, at), at)
            if row is not None:
                yield row

    # Shapes and values ------------------------------------------------------------------------------------------------

    def _objects(self, given: object, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """The objects of an array with their paths; anything else is refused."""
        if not isinstance(given, list):
            self.found.refuse(Check.WRONG_TYPE, Code.PARAM_INVALID, path)
            return
        for index, item in enumerate(given):
            if isinstance(item, dict):
                yield f"{path}[{index}]", item
            else:
                self.found.refuse(Check.WRONG_TYPE, Code.PARAM_INVALID, f"{path}[{index}]")

    def _count_rows(self, given: object) -> None:
        self._add_rows(len(given) if isinstance(given, list) else 0)

    def _add_rows(self, count: int) -> None:
        self._rows += count
        if self._rows > MAX_ROWS:
            too_many = Refused(Code.TOO_MANY, "processes and bind rows", MAX_ROWS, path="instances")
            self.found.note(Check.TOO_MANY, too_many)
            raise EnoughErrors

    def _known(self, values: Mapping[str, Any], names: frozenset[str], path: str) -> Mapping[str, Any]:
        """The fields this level has; every other key is warned about, or refused in strict mode."""
        if values.keys() <= names:
            return values
        for key in values:
            if key not in names:
                self._ignore(_joined(path, shown_key(key)), _reason(key))
        return {key: value for key, value in values.items() if key in names}

    def _ignore(self, path: str, reason: Reason) -> None:
        if self._strict:
            self.found.refuse(Check.STRICT, Code.PARAM_INVALID, path)
        else:
            self.found.warn(path, reason)

    def _model(
        self, model: type[M], values: Mapping[str, Any], path: str, paths: Mapping[str, str] = {}
    ) -> _Made[M] | None:
        """Validate one object by its model; `paths` says which fields stand elsewhere than under `path`.

        At once, the values are left to who validates the whole.
        """
        if self._at_once:
            return values
        try:
            return model.model_validate(values)
        except ValidationError as problem:
            for error in problem.errors(include_url=False, include_context=False, include_input=False):
                name = cast("str", error["loc"][0])
                self._refuse_value(error["type"], name, values.get(name), _joined(paths.get(name, path), name))
            return None

    def _refuse_value(self, kind: str, name: str, value: object, path: str) -> None:
        code = _CODES.get(kind, Code.PARAM_INVALID)
        if kind == "literal_error" and not isinstance(value, str):
            code = Code.PARAM_NOT_TEXT
        by_type = code not in (Code.PARAM_INVALID, Code.PARAM_REQUIRED)
        check = Check.WRONG_TYPE if by_type else _CHECK_OF_FIELD.get(name, Check.PROCESS_CREATION)
        self.found.refuse(check, code, path)


def _plain_rows(processes: object) -> int | None:
    """How many rows a list of processes is; None for anything that is not one object after the other, without null."""
    if not isinstance(processes, list):
        return None
    rows = len(processes)
    for process in processes:
        info = process.get("process_info", {}) if isinstance(process, dict) else None
        bind_info = info.get("bind_info", []) if isinstance(info, dict) else None
        if not isinstance(bind_info, list):
            return None
        rows += len(bind_info)
    return rows


def _bytes_of(value: object) -> bytes | None:
    """`value` as JSON, which tells types apart as ``==`` does not; None for what is no array, or no JSON."""
    try:
        return orjson.dumps(value) if isinstance(value, list) else None
    except TypeError:
        return None


def _without_nulls(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _reason(key: str) -> Reason:
    if key in _SERVER_OWNED:
        return Reason.SERVER_OWNED
    return Reason.REPLACED if key in _REPLACED else Reason.UNKNOWN_FIELD


def _joined(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
