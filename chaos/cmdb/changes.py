"""The calls that change CMDB, each as what it changes and what it answers; nothing is changed here.

Checks come in CMDB's order, with CMDB's codes, and no double is refused that the real one would take: an instance
without template is made as often as it is asked for.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from chaos.cmdb.exchange import Item, Refused
from chaos.cmdb.processes import check_unique, first_port, of_caller, of_template, overridden, replaced
from chaos.cmdb.world import Change, World, processes

_MOST: Final = 100
_MOST_DELETED: Final = 500
_NAME_BYTES: Final = 256


def create_service_instance(world: World, body: Item, user: str) -> tuple[Change, Any]:
    """Instances of one module, each with its processes; the answer is their ids."""
    asked: list[Item] = body.get("instances") or []
    if not asked:
        raise Refused(1199010, "service_instance_ids")
    if len(asked) > _MOST:
        raise Refused(1199035, f" create service instances exceeds the limit {_MOST}")
    module = _suitable_module(world, body, asked)
    ids = world.new_ids("instance", len(asked))
    taken = {(one["bk_module_id"], one["bk_host_id"]) for one in world.instances if one["service_template_id"]}
    made = []
    for id_, one in zip(ids, asked, strict=True):
        if len(one.get("service_instance_name", "").encode()) > _NAME_BYTES:
            raise Refused(1199006, "name")
        key = (module["bk_module_id"], one["bk_host_id"])
        if module["service_template_id"] and key in taken:
            raise Refused(1113016, f"service instance exists on {world.host(one['bk_host_id']).get('bk_host_innerip')}")
        taken |= {key} if module["service_template_id"] else set()
        made.append(_made(world, module, one, id_, user))
    return Change(created=made), list(ids)


def create_process_instance(world: World, body: Item, user: str) -> tuple[Change, Any]:
    """More processes of one instance that has no template; the answer is their ids."""
    asked: list[Item] = body.get("processes") or []
    if not asked:
        raise Refused(1199011, "processes")
    if len(asked) > _MOST:
        raise Refused(1199035, f" create process instances exceeds the limit {_MOST}")
    instance = _instance(world, body["service_instance_id"])
    if instance["bk_biz_id"] != body.get("bk_biz_id"):
        raise Refused(1199006, "bk_biz_id")
    if instance["service_template_id"]:
        raise Refused(1108035, "the service instance was created from a template")
    values = [of_caller(one["process_info"]) for one in asked]
    check_unique([*(one["process"] for one in instance["process_instances"]), *values])
    added = _processes(world, instance, values, [0] * len(values), user)
    return Change(added=added), [one["process"]["bk_process_id"] for one in added]


def update_process_instance(world: World, body: Item, user: str) -> tuple[Change, Any]:
    """New values of processes: without template all of them, with one what the template leaves free."""
    asked: list[Item] = body.get("processes") or []
    if len(asked) > _MOST:
        raise Refused(1199035, f" update process instances exceeds the limit {_MOST}")
    known = {one["process"]["bk_process_id"]: one for one in processes(world.instances)}
    updated = []
    for one in asked:
        if one.get("bk_process_id") not in known:
            raise Refused(1199011, f"[bk_process_id: {one.get('bk_process_id')}]")
        process = known[one["bk_process_id"]]
        instance = _instance(world, process["relation"]["service_instance_id"])
        values = _updated(world, process, instance, one)
        others = [p["process"] for p in instance["process_instances"] if p is not process]
        check_unique([*others, values])
        updated.append({"bk_process_id": one["bk_process_id"], **values, "last_time": _now(), "bk_updated_by": user})
    return Change(updated=updated), [one["bk_process_id"] for one in updated]


def delete_service_instance(world: World, body: Item, _user: str) -> tuple[Change, Any]:
    """Instances, with their processes."""
    ids: list[int] = body.get("service_instance_ids") or []
    if not ids:
        raise Refused(1199010, "service_instance_ids")
    if len(ids) > _MOST_DELETED:
        raise Refused(1199035, f" delete service instance exceeds the limit {_MOST_DELETED}")
    known = {one["id"] for one in world.instances if one["bk_biz_id"] == body.get("bk_biz_id")}
    if len(known.intersection(ids)) < len(ids):
        raise Refused(1199006, "service_instance_ids")
    return Change(deleted=ids), None


def delete_process_instance(world: World, body: Item, _user: str) -> tuple[Change, Any]:
    """Processes that have no template; an instance goes with its last one."""
    ids: list[int] = body.get("process_instance_ids") or []
    if len(ids) > _MOST_DELETED:
        raise Refused(1199035, f" delete process instance exceeds the limit {_MOST_DELETED}")
    found = [one for one in processes(world.instances) if one["process"]["bk_process_id"] in ids]
    if any(one["relation"]["process_template_id"] for one in found):
        raise Refused(1113022, "processes of a template cannot be deleted")
    touched = {one["relation"]["service_instance_id"] for one in found}
    emptied = [id_ for id_ in touched if all(one in found for one in _instance(world, id_)["process_instances"])]
    return Change(deleted=emptied, ended=ids), None


CHANGES: Final[Mapping[str, Callable[[World, Item, str], tuple[Change, Any]]]] = {
    function.__name__: function
    for function in (
        create_service_instance,
        create_process_instance,
        update_process_instance,
        delete_service_instance,
        delete_process_instance,
    )
}


def _suitable_module(world: World, body: Item, asked: Sequence[Item]) -> Item:
    module = world.module(body.get("bk_module_id", 0))
    if module["bk_biz_id"] != body.get("bk_biz_id"):
        raise Refused(1113004, f"module {module['bk_module_id']} does not belong to business {body.get('bk_biz_id')}")
    if module["default"]:
        raise Refused(1199006, "bk_module_id")
    if module["service_template_id"] and not world.templates_of(module["service_template_id"]):
        raise Refused(1199006, "service_template_id")
    if not module["service_template_id"] and not all(one.get("processes") for one in asked):
        raise Refused(1199010, "instances.processes")
    there = set(world.hosts_of.get(module["bk_module_id"], ()))
    if elsewhere := {one.get("bk_host_id", 0) for one in asked} - there:
        raise Refused(1110056, f"hosts {sorted(elsewhere)} are not in the module")
    return module


def _made(world: World, module: Item, asked: Item, id_: int, user: str) -> Item:
    host, template_id = world.host(asked["bk_host_id"]), module["service_template_id"]
    templates = world.templates_of(template_id) if template_id else []
    plain = [of_template(template, host) for template in templates]
    values, template_ids = plain, [template["id"] for template in templates]
    if template_id:
        given = {one.get("process_template_id"): one.get("process_info") for one in asked.get("processes") or ()}
        pairs = zip(templates, plain, strict=True)
        values = [overridden(one, host, old, info) if (info := given.get(one["id"])) else old for one, old in pairs]
    else:
        plain = values = [of_caller(one["process_info"]) for one in asked["processes"]]
        template_ids = [0] * len(values)
    check_unique(values)
    instance: Item = {
        "id": id_,
        "bk_biz_id": module["bk_biz_id"],
        "bk_module_id": module["bk_module_id"],
        "bk_host_id": asked["bk_host_id"],
        "service_template_id": template_id,
        # A generated name has the template's values, whatever the caller puts over them.
        "name": asked.get("service_instance_name") or _generated_name(host, plain),
        "labels": None,
        "creator": user,
        "modifier": user,
        "create_time": _now(),
        "last_time": _now(),
        "bk_supplier_account": "0",
    }
    return {**instance, "process_instances": _processes(world, instance, values, template_ids, user)}


def _processes(
    world: World, instance: Item, values: Sequence[Item], template_ids: Sequence[int], user: str
) -> list[Item]:
    ids = world.new_ids("process", len(values))
    owned = {"bk_biz_id": instance["bk_biz_id"], "bk_supplier_account": "0"}
    kept = {"service_instance_id": instance["id"], "create_time": _now(), "last_time": _now(), "bk_created_by": user}
    return [
        {
            "process": {"bk_process_id": id_, **one, **owned, **kept},
            "relation": {
                "bk_process_id": id_,
                "service_instance_id": instance["id"],
                "process_template_id": template_id,
                "bk_host_id": instance["bk_host_id"],
                **owned,
            },
        }
        for id_, one, template_id in zip(ids, values, template_ids, strict=True)
    ]


def _updated(world: World, process: Item, instance: Item, asked: Item) -> Item:
    template_id = process["relation"]["process_template_id"]
    if not template_id:
        return replaced(asked)
    template = next(one for one in world.process_templates if one["id"] == template_id)
    host = world.host(instance["bk_host_id"])
    return overridden(template, host, of_template(template, host), asked)


def _instance(world: World, id_: int) -> Item:
    found = next((one for one in world.instances if one["id"] == id_), None)
    if found is None:
        raise Refused(1199006, "service_instance_id")
    return found


def _generated_name(host: Item, values: Sequence[Item]) -> str:
    stored = host.get("bk_host_innerip") or host.get("bk_host_innerip_v6") or ""
    address = ",".join(stored) if isinstance(stored, list) else stored
    return "_".join(part for part in (address, values[0]["bk_process_name"], first_port(values)) if part)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
