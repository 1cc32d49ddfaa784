"""Turn the items of CMDB's answers into catalogue rows, one by one; a bad item is refused and the rest goes on.

A row is a mapping of column to value that holds only what the answer said. An answer asked with few ``fields`` says
little, and what it does not say stays as it is stored.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from contract.codes import Refused
from worker.catalogue.answers import Answer, Kind
from worker.expand.bind_columns import canonical_ip
from worker.expand.templates import parse_process_template
from worker.expand.values import is_storable

Key = tuple[int, ...]
Row = Mapping[str, Any]
Rows = dict[Kind, dict[Key, Row]]

KEY_COLUMNS: Final[Mapping[Kind, tuple[str, ...]]] = {
    Kind.SERVICE_TEMPLATE: ("id",),
    Kind.PROCESS_TEMPLATE: ("id",),
    Kind.MODULE: ("bk_module_id",),
    Kind.HOST: ("bk_host_id",),
    Kind.MODULE_HOST_RELATION: ("bk_module_id", "bk_host_id"),
}
"""What makes a row of each kind one of its own."""

ADDRESSES: Final = ("bk_host_innerip", "bk_host_outerip", "bk_host_innerip_v6", "bk_host_outerip_v6")
MAX_DEPTH: Final = 20
"""A process template's property nests six levels deep."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """An item that is not taken over: where it stood (document and path in it) and why."""

    kind: Kind | None
    source: str
    path: str
    reason: str

    def __str__(self) -> str:
        """One line for people."""
        where = f"{self.source}: {self.path}" if self.path else self.source
        return f"{where}: {self.reason}"


@dataclass(slots=True)
class Incoming:
    """All rows of a set of answers, each with the place it came from, and the items that were refused.

    `kept` has the keys of refused items: CMDB does list them, so they are not "missing". `unreadable` names the kinds
    with a refused item that had no readable key, of which nothing can be called missing.
    """

    rows: Rows = field(default_factory=lambda: {kind: {} for kind in Kind})
    places: dict[tuple[Kind, Key], tuple[str, str]] = field(default_factory=dict)
    refused: list[Refusal] = field(default_factory=list)
    kept: set[tuple[Kind, Key]] = field(default_factory=set)
    unreadable: set[Kind] = field(default_factory=set)

    def add(self, kind: Kind, row: Row, source: str, path: str) -> None:
        """Take a row over; of two rows with one key the later one says more."""
        key = key_of(kind, row)
        self.rows[kind][key] = {**self.rows[kind].get(key, {}), **row}
        self.places[kind, key] = (source, path)

    def refuse(self, kind: Kind, key: Key, reason: str, *, inner: str = "") -> None:
        """Take a row back that turned out bad beside others; `inner` is the path within its item."""
        source, path = self.places[kind, key]
        del self.rows[kind][key]
        self.kept.add((kind, key))
        self.refused.append(Refusal(kind, source, f"{path}.{inner}" if inner else path, reason))


def key_of(kind: Kind, row: Row) -> Key:
    """The row's key, from the columns of `KEY_COLUMNS`."""
    return tuple(row[column] for column in KEY_COLUMNS[kind])


def read_items(answers: Iterable[Answer], bk_biz_id: int | None = None) -> Incoming:
    """Read all items of `answers`. `bk_biz_id` is the business of items that neither say it nor were asked with it."""
    incoming = Incoming()
    for answer in answers:
        if answer.kind is None:
            continue
        context = _context(answer, bk_biz_id)
        for index, item in enumerate(answer.items):
            path = f"{answer.path}[{index}]"
            try:
                for kind, row in _READERS[answer.kind](item, context):
                    incoming.add(kind, row, answer.source, path)
            except ValidationError as problem:
                inner, reason = _first_problem(problem)
            except Refused as refused:
                inner, reason = f"property.{refused.path}", refused.message()
            else:
                continue
            incoming.refused.append(Refusal(answer.kind, answer.source, f"{path}.{inner}" if inner else path, reason))
            _keep(incoming, answer.kind, item)
    return incoming


def _context(answer: Answer, bk_biz_id: int | None) -> Mapping[str, Any]:
    biz = answer.request.get("bk_biz_id", bk_biz_id)
    return {"bk_biz_id": biz} if type(biz) is int and biz > 0 else {}


def _keep(incoming: Incoming, kind: Kind, item: Any) -> None:
    values = [item.get(column) if isinstance(item, dict) else None for column in KEY_COLUMNS[kind]]
    if all(type(value) is int for value in values):
        incoming.kept.add((kind, tuple(value for value in values if type(value) is int)))
    else:
        incoming.unreadable.add(kind)


def _first_problem(problem: ValidationError) -> tuple[str, str]:
    error = problem.errors(include_url=False, include_input=False)[0]
    path = ""
    for part in error["loc"]:
        path += f"[{part}]" if isinstance(part, int) else f".{part}"
    reason = error["msg"].removeprefix("Value error, ")
    return path.removeprefix("."), reason[:1].lower() + reason[1:]


def _storable(text: str) -> str:
    if not is_storable(text):
        raise ValueError("must hold no NUL and no lone surrogate")
    return text


def _storable_json(value: Any) -> Any:
    """The same for all of a JSON value, which may also hold no number without an end and no bottomless nesting."""
    pending = [(value, 0)]
    while pending:
        part, depth = pending.pop()
        if depth > MAX_DEPTH:
            raise ValueError(f"must not be nested deeper than {MAX_DEPTH}")
        if isinstance(part, str):
            _storable(part)
        elif isinstance(part, float) and not math.isfinite(part):
            raise ValueError("must hold finite numbers")
        elif isinstance(part, dict):
            pending += [(inner, depth + 1) for inner in (*part.keys(), *part.values())]
        elif isinstance(part, list):
            pending += [(inner, depth + 1) for inner in part]
    return value


def _addresses(value: Any) -> Any:
    """CMDB stores a list and shows comma-joined text; which of the two arrives depends on the API's version."""
    if value is None:
        return ""
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        return ",".join(value)
    return value


def _all_of_family(version: int) -> AfterValidator:
    def check(text: str) -> str:
        for part in text.split(",") if text else ():
            canonical = canonical_ip(part.strip())
            if canonical is None or canonical[1] != version:
                raise ValueError(f"must hold IPv{version} addresses, separated by commas")
        return text

    return AfterValidator(check)


Id = Annotated[int, Field(ge=1, le=2**63 - 1)]
_ZERO_FOR_NULL: Final = BeforeValidator(lambda value: 0 if value is None else value)
Reference = Annotated[int, _ZERO_FOR_NULL, Field(ge=0, le=2**63 - 1)]
Flag = Annotated[int, _ZERO_FOR_NULL, Field(ge=0, le=2**31 - 1)]
StoredText = Annotated[str, AfterValidator(_storable)]
Addresses4 = Annotated[str, BeforeValidator(_addresses), _all_of_family(4)]
Addresses6 = Annotated[str, BeforeValidator(_addresses), _all_of_family(6)]


class _Listed(BaseModel):
    """Keys that are not listed are ignored: CMDB answers far more than the catalogue needs."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore", hide_input_in_errors=True)


class _Item(_Listed):
    bk_supplier_account: StoredText = "0"


class _ServiceTemplate(_Item):
    id: Id
    bk_biz_id: Id
    name: StoredText


class _ProcessTemplate(_Item):
    id: Id
    bk_biz_id: Id
    service_template_id: Id
    property: Annotated[dict[str, Any], AfterValidator(_storable_json)]


class _Module(_Item):
    bk_module_id: Id
    bk_biz_id: Id
    bk_module_name: StoredText
    service_template_id: Reference = 0
    default: Flag = 0
    bk_set_id: Reference = 0


class _Host(_Item):
    bk_host_id: Id
    bk_host_innerip: Addresses4 = ""
    bk_host_outerip: Addresses4 = ""
    bk_host_innerip_v6: Addresses6 = ""
    bk_host_outerip_v6: Addresses6 = ""
    bk_cloud_id: Reference = 0


MODULE_FIELDS: Final = tuple(_Module.model_fields)
HOST_FIELDS: Final = tuple(_Host.model_fields)
"""What CMDB is asked for of a module, and of a host."""


class _RelatedModule(_Listed):
    bk_module_id: Id
    bk_biz_id: Id | None = None
    bk_set_id: Reference = 0


class _FlatRelation(_RelatedModule):
    bk_host_id: Id


class _Relation(_Listed):
    host: _Host
    modules: list[_RelatedModule]


_Reader = Callable[[Any, Row], Iterable[tuple[Kind, Row]]]


def _said(model: BaseModel) -> dict[str, Any]:
    return model.model_dump(exclude_unset=True)


def _one(kind: Kind, model: type[_Item]) -> _Reader:
    """For items that are rows as they stand."""
    return lambda item, context: [(kind, _said(model.model_validate(_with(context, item))))]


def _process_template(item: Any, context: Row) -> Iterator[tuple[Kind, Row]]:
    template = _ProcessTemplate.model_validate(_with(context, item))
    parsed = parse_process_template(template.id, template.property)
    yield Kind.PROCESS_TEMPLATE, {**_said(template), "bk_process_name": parsed.properties["bk_process_name"].value}


def _relation(item: Any, context: Row) -> Iterator[tuple[Kind, Row]]:
    """Both shapes: a host with its modules, or one flat row for each pair."""
    if isinstance(item, dict) and "bk_module_id" in item:
        yield Kind.MODULE_HOST_RELATION, {**context, **_said(_FlatRelation.model_validate(item))}
        return
    relation = _Relation.model_validate(item)
    host = _said(relation.host)
    if any(column in host for column in ADDRESSES):
        yield Kind.HOST, host
    for module in relation.modules:
        yield Kind.MODULE_HOST_RELATION, {**context, **_said(module), "bk_host_id": relation.host.bk_host_id}


def _with(context: Row, item: Any) -> Any:
    return {**context, **item} if isinstance(item, dict) else item


_READERS: Final[Mapping[Kind, _Reader]] = {
    Kind.SERVICE_TEMPLATE: _one(Kind.SERVICE_TEMPLATE, _ServiceTemplate),
    Kind.PROCESS_TEMPLATE: _process_template,
    Kind.MODULE: _one(Kind.MODULE, _Module),
    Kind.HOST: _one(Kind.HOST, _Host),
    Kind.MODULE_HOST_RELATION: _relation,
}
