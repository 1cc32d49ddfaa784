"""The patient walk over a caller's JSON, one object after the other, for what `contract.request.parse` does not take.

It tells what is ignored, or wrong, and where.
"""

from collections.abc import Iterator, Mapping, Set
from typing import Any, Final, TypeVar, cast

import orjson
from pydantic import TypeAdapter, ValidationError

from contract.codes import Code, Reason, Refused, Why
from contract.request import keys
from contract.request.batch import (
    MAX_INSTANCES,
    MAX_ROWS,
    BatchHead,
    BindRow,
    Instance,
    InstanceHead,
    Process,
    ProcessHead,
    ProcessInfo,
    ProcessList,
    Properties,
    ServiceInstanceBatch,
)
from contract.request.findings import Check, EnoughErrors, Findings, shown_key
from contract.request.idempotency import parse_idempotency_key

_HEAD: Final = TypeAdapter(BatchHead)
_INSTANCE: Final = TypeAdapter(InstanceHead)
_PROCESS: Final = TypeAdapter(ProcessHead)
_PROPERTIES: Final = TypeAdapter(Properties)
_ROW: Final = TypeAdapter(BindRow)

_CODES: Final = {
    "missing": Code.PARAM_REQUIRED,
    "int_type": Code.PARAM_NOT_INT,
    "less_than_equal": Code.PARAM_NOT_INT,  # beyond int64; ranges of values are the worker's
    "greater_than_equal": Code.PARAM_NOT_INT,
    "bool_type": Code.PARAM_NOT_BOOL,
    "string_type": Code.PARAM_NOT_TEXT,
}
_WHY: Final = {
    "greater_than": Why.NOT_POSITIVE,
    "name_too_long": Why.NAME_TOO_LONG,
    "string_pattern_mismatch": Why.CHARACTERS,
    "string_unicode": Why.CHARACTERS,
}
_WHY_OF_FIELD: Final = {
    "process_template_id": {"greater_than": Why.NEGATIVE},
    "on_existing": {"literal_error": Why.ON_EXISTING},
    "mode": {"literal_error": Why.MODE},
}
_CHECK_OF_FIELD: Final = {
    "bk_module_id": Check.MODULE,
    "bk_biz_id": Check.BUSINESS,
    "bk_host_id": Check.HOST,
    "service_instance_name": Check.NAME,
}

_OF_INSTANCE: Final = frozenset(InstanceHead.__annotations__)
_OF_PROCESS: Final = frozenset(ProcessHead.__annotations__)

T = TypeVar("T")


class Reader:
    """One walk over one body: shapes here, values by the types, errors and warnings on the side.

    Args:
        strict: refuse what would otherwise be ignored with a warning.
    """

    def __init__(self, *, strict: bool) -> None:
        self.found = Findings()
        self._strict = strict
        self._rows = 0
        self._lists: dict[bytes, ProcessList] = {}
        self._places: dict[bytes, int] = {}

    def read(self, body: Mapping[str, Any]) -> ServiceInstanceBatch | None:
        """The batch; None when there is something wrong with it."""
        given = self._known(body, keys.BODY, "")
        try:
            head = self._checked(_HEAD, _without_nulls(given, keys.HEAD), "")
            self._key(given.get("client_request_id"))
            instances = list(self._instances(given.get("instances")))
        except EnoughErrors:
            return None
        if self.found.errors or head is None:
            return None
        return ServiceInstanceBatch(processes=list(self._lists.values()), instances=instances, **_plain(head))

    # The levels of the body -------------------------------------------------------------------------------------------

    def _key(self, key: object) -> None:
        try:
            if key is not None:
                parse_idempotency_key(key, "client_request_id")
        except Refused as refused:
            self.found.note(Check.WRONG_TYPE, refused)

    def _instances(self, given: object) -> Iterator[Instance]:
        if given is None or given == []:
            self.found.refuse(Check.NO_INSTANCES, Code.PARAM_REQUIRED, "instances")
            return
        if isinstance(given, list) and len(given) > MAX_INSTANCES:
            # Said before any item is looked at: 200,000 bad items must cost nothing.
            too_many = Refused(Code.TOO_MANY, "create service instances", MAX_INSTANCES, path="instances")
            self.found.note(Check.TOO_MANY, too_many)
            return
        for path, values in self._objects(given, "instances"):
            known = self._known(values, keys.INSTANCE, path)
            place = self._place(known.get("processes"), f"{path}.processes")
            head = self._checked(_INSTANCE, _without_nulls(known, _OF_INSTANCE), path)
            if head is not None:
                yield head["bk_host_id"], head.get("service_instance_name"), place

    def _place(self, given: object, path: str) -> int | None:
        """Where the process list stands among the distinct ones; None when none was given."""
        if given is None:
            return None
        processes = list(self._processes(given, path))
        if self.found.errors:
            return None
        text = orjson.dumps(processes)
        self._lists.setdefault(text, processes)
        return self._places.setdefault(text, len(self._places))

    def _processes(self, given: object, path: str) -> Iterator[Process]:
        self._count_rows(given)
        for at, values in self._objects(given, path):
            known = self._known(values, keys.PROCESS, at)
            info = self._process_info(known, at)
            head = self._checked(_PROCESS, _without_nulls(known, _OF_PROCESS), at)
            if head is not None:
                process = cast("Process", {**head})
                if info is not None:
                    process["process_info"] = info
                yield process

    def _process_info(self, process: Mapping[str, Any], path: str) -> ProcessInfo | None:
        """Merge what is inside ``process_info`` with the properties beside it; None when there is neither."""
        inside = process.get("process_info")
        at = f"{path}.process_info"
        if inside is not None and not isinstance(inside, dict):
            self.found.refuse(Check.WRONG_TYPE, Code.PARAM_INVALID, at, Why.NOT_AN_OBJECT)
            return None
        beside = [name for name in process if name in keys.INFO]
        if inside is None and not beside:
            return None
        nested = self._known(inside or {}, keys.INFO, at)
        paths = {name: path for name in beside if name not in nested}
        for name in beside:
            if name in nested:
                self._ignore(f"{path}.{name}", Reason.NESTED_WINS)
        merged = {**nested, **{name: process[name] for name in paths}}
        rows = self._bind_rows(merged.pop("bind_info", ...), f"{paths.get('bind_info', at)}.bind_info")
        properties = self._checked(_PROPERTIES, merged, at, paths)
        return None if properties is None else cast("ProcessInfo", {**properties, **rows})

    def _bind_rows(self, given: object, path: str) -> dict[str, list[BindRow] | None]:
        if given is ...:
            return {}
        if given is None:
            return {"bind_info": None}
        if isinstance(given, dict):
            given = [given]
        self._count_rows(given)
        rows = [self._checked(_ROW, self._known(values, keys.ROW, at), at) for at, values in self._objects(given, path)]
        return {"bind_info": [row for row in rows if row is not None]}

    # Shapes and values ------------------------------------------------------------------------------------------------

    def _objects(self, given: object, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """The objects of an array with their paths; anything else is refused."""
        if not isinstance(given, list):
            self.found.refuse(Check.WRONG_TYPE, Code.PARAM_INVALID, path, Why.NOT_A_LIST)
            return
        for index, item in enumerate(given):
            if isinstance(item, dict):
                yield f"{path}[{index}]", item
            else:
                self.found.refuse(Check.WRONG_TYPE, Code.PARAM_INVALID, f"{path}[{index}]", Why.NOT_AN_OBJECT)

    def _count_rows(self, given: object) -> None:
        self._rows += len(given) if isinstance(given, list) else 0
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
                self._ignore(_joined(path, shown_key(key)), keys.why_ignored(key))
        return {key: value for key, value in values.items() if key in names}

    def _ignore(self, path: str, reason: Reason) -> None:
        if self._strict:
            self.found.refuse(Check.STRICT, Code.PARAM_INVALID, path, Why.STRICT)
        else:
            self.found.warn(path, reason)

    def _checked(
        self, types: TypeAdapter[T], values: Mapping[str, Any], path: str, paths: Mapping[str, str] = {}
    ) -> T | None:
        """Check one object; `paths` says which fields stand elsewhere than under `path`."""
        try:
            return types.validate_python(values)
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
        self.found.refuse(check, code, path, _why(kind, name) if code is Code.PARAM_INVALID else None)


def _why(kind: str, name: str) -> Why | None:
    return _WHY_OF_FIELD.get(name, {}).get(kind) or _WHY.get(kind)


def _without_nulls(values: Mapping[str, Any], names: Set[str]) -> dict[str, Any]:
    """Those of `names` that are given; in the skeleton of a request null means absent."""
    return {name: value for name, value in values.items() if name in names and value is not None}


def _plain(head: BatchHead) -> dict[str, Any]:
    return {**head}


def _joined(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
