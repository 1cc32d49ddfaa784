"""Read service instances and processes as CMDB's APIs list them.

| API | an item |
|---|---|
| ``list_service_instance_detail`` | an instance and ``process_instances``: ``process`` and ``relation`` of each |
| ``list_service_instance`` | the same without its processes |
| ``list_process_instance`` | ``property`` and ``relation`` of one process; all of an instance are wanted |

Old data may break today's rules. What cannot be stored is left out, at the smallest place, and named: a property that
is not required becomes null, a bind row or a process is left out, an instance without readable ids is refused.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from contract.request.batch import MAX_INT64, PROCESS_PROPERTIES
from worker.catalogue.answers import Answer
from worker.expand.bind_columns import PROTOCOL_FAMILY, canonical_ip
from worker.expand.plan import PlannedBind
from worker.expand.sync import CmdbInstance, CmdbProcess
from worker.expand.values import is_storable

_TYPES: Final = {"text": str, "int": int, "bool": bool}
_MAX_PORT_BYTES: Final = 11
_MAX_IP_BYTES: Final = 45


class ItemRefused(Exception):
    """An item is not what the API lists; the text is its path and the reason."""


@dataclass(slots=True)
class Listed:
    """What a set of answers lists, each instance once; `left_out` has a line for everything that is not taken over."""

    instances: list[CmdbInstance] = field(default_factory=list)
    ids: list[int] = field(default_factory=list)
    """Of all that is listed, refused ones included."""
    left_out: list[str] = field(default_factory=list)
    has_unreadable_id: bool = False


def read_instances(answers: Iterable[Answer]) -> Listed:
    """Read what `answers` list; the processes of an instance may be in another answer than the instance."""
    listed = Listed()
    found: dict[int, CmdbInstance] = {}
    processes: dict[int, list[CmdbProcess]] = {}
    for answer in answers:
        for index, item in enumerate(answer.items):
            where = f"{answer.source}: {answer.path}[{index}]"
            id_ = item.get("id") if isinstance(item, dict) else None
            try:
                if isinstance(item, dict) and "property" in item:
                    owner, process = _process(item.get("property"), item.get("relation"), where, listed.left_out)
                    processes.setdefault(owner, []).append(process)
                    continue
                instance = _instance(item, where, listed.left_out)
                found[instance.id] = _with_processes_of(found.get(instance.id), instance)
            except ItemRefused as refused:
                listed.left_out.append(f"{where}{refused}")
            if type(id_) is int:
                listed.ids.append(id_)
            else:
                listed.has_unreadable_id = True
    for id_, under in processes.items():
        if id_ in found:
            found[id_] = replace(found[id_], processes=tuple(under))
        else:
            listed.left_out.append(f"processes of service instance {id_}: import the instance with them")
    listed.instances = [found[id_] for id_ in sorted(found)]
    return listed


def _with_processes_of(before: CmdbInstance | None, instance: CmdbInstance) -> CmdbInstance:
    if before is None or instance.processes is not None:
        return instance
    return replace(instance, processes=before.processes)


def _instance(item: Any, where: str, left_out: list[str]) -> CmdbInstance:
    if not isinstance(item, dict):
        raise ItemRefused(": not an object")
    pairs = item.get("process_instances")
    if "process_instances" in item and not isinstance(pairs, list | None):
        raise ItemRefused(".process_instances: not a list")
    creator, modifier = _text(item, "creator"), _text(item, "modifier")
    labels = item.get("labels")
    return CmdbInstance(
        id=_id(item, "id"),
        bk_biz_id=_id(item, "bk_biz_id"),
        bk_module_id=_id(item, "bk_module_id"),
        bk_host_id=_id(item, "bk_host_id"),
        service_template_id=_id(item, "service_template_id", least=0),
        name=_text(item, "name"),
        creator=creator,
        modifier=modifier or creator,
        bk_supplier_account=_text(item, "bk_supplier_account") or "0",
        create_time=_time(item.get("create_time")),
        last_time=_time(item.get("last_time")),
        labels=labels if isinstance(labels, dict) and labels else None,
        processes=_processes(pairs or [], where, left_out) if "process_instances" in item else None,
    )


def _processes(pairs: Iterable[Any], where: str, left_out: list[str]) -> tuple[CmdbProcess, ...]:
    found = {}
    for index, pair in enumerate(pairs):
        at = f"{where}.process_instances[{index}]"
        try:
            if not isinstance(pair, dict):
                raise ItemRefused(": not an object")  # noqa: TRY301 - one place says what is left out
            _, process = _process(pair.get("process"), pair.get("relation"), at, left_out)
            found[process.id] = process
        except ItemRefused as refused:
            left_out.append(f"{at}{refused}")
    return tuple(found[id_] for id_ in sorted(found))


def _process(values: Any, relation: Any, where: str, left_out: list[str]) -> tuple[int, CmdbProcess]:
    if not (isinstance(values, dict) and isinstance(relation, dict)):
        raise ItemRefused(": a process and its relation are wanted")
    rows = values.get("bind_info")
    return _id(relation, "service_instance_id"), CmdbProcess(
        id=_id(values, "bk_process_id"),
        process_template_id=_id(relation, "process_template_id", least=0),
        values={name: _property(name, values.get(name), where, left_out) for name in PROCESS_PROPERTIES},
        bind_info=_rows(rows if isinstance(rows, list) else [], where, left_out),
    )


def _property(name: str, value: Any, where: str, left_out: list[str]) -> Any:
    rule = PROCESS_PROPERTIES[name]
    if rule.required and not value:
        raise ItemRefused(f".{name}: required")
    if value is None:
        return None
    is_fit = type(value) is _TYPES[rule.type]
    if is_fit and rule.type == "text":
        is_fit = is_storable(value) and len(value.encode()) <= (rule.max_bytes or 0)
    elif is_fit and rule.type == "int":
        is_fit = (rule.minimum or 0) <= value <= (rule.maximum or 0)
    if is_fit:
        return value
    if rule.required:
        raise ItemRefused(f".{name}: cannot be stored")
    if value not in (0, ""):
        left_out.append(f"{where}.{name}: cannot be stored and is kept as null")
    return None


def _rows(rows: Iterable[Any], where: str, left_out: list[str]) -> tuple[PlannedBind, ...]:
    """In CMDB's order. An id that is missing, or there already, becomes the highest plus 1, as for a caller's row."""
    fit = []
    for index, row in enumerate(rows):
        if (found := _row(row)) is not None:
            fit.append(found)
        else:
            left_out.append(f"{where}.bind_info[{index}]: cannot be stored and is left out")
    last = max((row.template_row_id for row in fit), default=0)
    seen: set[int] = set()
    numbered = []
    for row in fit:
        id_ = row.template_row_id
        if not id_ or id_ in seen:
            last = id_ = last + 1
        seen.add(id_)
        numbered.append(row._replace(template_row_id=id_))
    return tuple(numbered)


def _row(row: Any) -> PlannedBind | None:
    if not isinstance(row, dict):
        return None
    id_, ip, port, protocol = (row.get(name) for name in ("template_row_id", "ip", "port", "protocol"))
    ip, port = "" if ip is None else ip, str(port) if type(port) is int else port
    if not (isinstance(ip, str) and isinstance(port, str) and isinstance(protocol, str)):
        return None
    found = canonical_ip(ip)
    ip = ip if found is None else found[0]
    texts_fit = is_storable(ip) and is_storable(port) and len(ip.encode()) <= _MAX_IP_BYTES
    if not texts_fit or not 0 < len(port.encode()) <= _MAX_PORT_BYTES or protocol not in PROTOCOL_FAMILY:
        return None
    if type(id_) is not int or not 0 < id_ < MAX_INT64 // 2:
        id_ = 0
    return PlannedBind(id_, ip, port, protocol, row.get("enable") is True)


def _id(item: Mapping[str, Any], name: str, *, least: int = 1) -> int:
    value = item.get(name)
    if value is None and least == 0:
        return 0
    if type(value) is not int or not least <= value <= MAX_INT64:
        raise ItemRefused(f".{name}: not an id")
    return value


def _text(item: Mapping[str, Any], name: str) -> str:
    value = item.get(name)
    if value is None:
        return ""
    if not isinstance(value, str) or not is_storable(value):
        raise ItemRefused(f".{name}: not a text that can be stored")
    return value


def _time(value: Any) -> datetime | None:
    """CMDB writes RFC 3339; what is no time is left to the moment of the import."""
    try:
        found = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
    return found if found.tzinfo else None
