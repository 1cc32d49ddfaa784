"""Items as CMDB's APIs list them, and what reading them gives."""

import json
from typing import Any

from worker.catalogue.answers import Answer, Kind, answer_of
from worker.catalogue.changes import Changes, plan_changes
from worker.catalogue.items import Incoming, Rows, read_items
from worker.catalogue.scope import Scope, whole_listings

NOTHING_STORED: Rows = {kind: {} for kind in Kind}
NO_SCOPE: Scope = {kind: frozenset() for kind in Kind}


def column(value: Any, *, locked: bool = False) -> dict[str, Any]:
    return {"value": value, "as_default_value": locked}


def service_template(id_: int = 5, bk_biz_id: int = 1, **more: Any) -> dict[str, Any]:
    return {"id": id_, "bk_biz_id": bk_biz_id, "name": f"template {id_}", "service_category_id": 2, **more}


def process_template(
    id_: int = 7, service_template_id: int = 5, name: str = "nginx", bk_biz_id: int = 1, **properties: Any
) -> dict[str, Any]:
    names = {"bk_process_name": column(name, locked=True), "bk_func_name": column(name, locked=True)}
    property_ = {**names, **properties}
    return {"id": id_, "bk_biz_id": bk_biz_id, "service_template_id": service_template_id, "property": property_}


def module(
    bk_module_id: int = 60, bk_biz_id: int = 1, service_template_id: int | None = 5, **more: Any
) -> dict[str, Any]:
    name = f"module {bk_module_id}"
    known = {"bk_module_id": bk_module_id, "bk_biz_id": bk_biz_id, "bk_module_name": name, "default": 0}
    return {**known, "service_template_id": service_template_id, **more}


def host(bk_host_id: int = 2, inner: Any = "10.0.0.2", **more: Any) -> dict[str, Any]:
    return {"bk_host_id": bk_host_id, "bk_host_innerip": inner, "bk_cloud_id": 0, **more}


def relation(bk_host_id: int = 2, *module_ids: int) -> dict[str, Any]:
    return {"host": {"bk_host_id": bk_host_id}, "modules": [{"bk_module_id": id_} for id_ in module_ids or (60,)]}


def envelope(*items: Any, name: str = "info", count: int | None = None, **more: Any) -> dict[str, Any]:
    data = {"count": len(items) if count is None else count, name: list(items)}
    return {"result": True, "code": 0, "message": "success", "permission": None, "data": data, **more}


def answer(*items: Any, source: str = "file.json", **more: Any) -> Answer:
    name = "relation" if items and isinstance(items[0], dict) and "modules" in items[0] else "info"
    return answer_of(envelope(*items, name=name, **more), source)


def read(*items: Any, bk_biz_id: int | None = None, **more: Any) -> Incoming:
    return read_items([answer(*items, **more)], bk_biz_id)


def refusals(incoming: Incoming) -> list[tuple[str, str]]:
    return [(refusal.path, refusal.reason) for refusal in incoming.refused]


def changes(stored: Rows, *answers: Answer, prune: bool = False) -> Changes:
    scope, notes = whole_listings(answers) if prune else (NO_SCOPE, ())
    found = plan_changes(read_items(answers), stored, scope)
    found.notes[:0] = notes
    return found


def after(stored: Rows, found: Changes) -> Rows:
    """What is stored once the changes are written."""
    return {
        kind: {
            **{key: row for key, row in stored[kind].items() if key not in found.removed[kind]},
            **found.added[kind],
            **found.changed[kind],
        }
        for kind in Kind
    }


def document(body: Any) -> bytes:
    return json.dumps(body).encode()


def bind_row(row_id: int = 1, port: str = "80", **more: Any) -> dict[str, Any]:
    return {"template_row_id": row_id, "ip": "127.0.0.1", "port": port, "protocol": "1", "enable": True, **more}


def process_instance(
    id_: int, service_instance_id: int, name: str = "nginx", template_id: int = 7, **more: Any
) -> dict[str, Any]:
    """One of ``process_instances``."""
    values = {"bk_process_id": id_, "bk_process_name": name, "bk_func_name": name, "bk_start_param_regex": ""}
    relation = {"service_instance_id": service_instance_id, "process_template_id": template_id, "bk_process_id": id_}
    return {"process": {**values, "bind_info": [bind_row()], **more}, "relation": relation}


def service_instance(
    id_: int = 72, bk_host_id: int = 2, name: str = "10.0.0.2_nginx_80", **more: Any
) -> dict[str, Any]:
    """An item of ``list_service_instance_detail``, with one process."""
    known = {"bk_biz_id": 1, "bk_module_id": 60, "service_template_id": 5, "creator": "admin", "modifier": "admin"}
    times = dict.fromkeys(("create_time", "last_time"), "2020-05-06T07:08:09.123+08:00")
    processes = [process_instance(id_ * 10, id_)]
    return {"id": id_, "bk_host_id": bk_host_id, "name": name, **known, **times, "process_instances": processes, **more}
