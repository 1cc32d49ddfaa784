"""The calls that read, with CMDB's limits, counts and default orders."""

import re
import time
from collections.abc import Callable, Mapping
from typing import Final

from chaos.cmdb.exchange import Item, Refused, Reply, listing, only, success
from chaos.cmdb.world import World

_CATALOGUE_LIMITS: Final = {
    "list_service_template": 500,
    "find_module_with_relation": 500,
    "list_biz_hosts": 500,
    "find_module_host_relation": 1000,
}
_MOST_INSTANCES: Final = 1000
_MOST_MODULES: Final = 200
_WATCHED_S: Final = 0.3
"""How long `resource_watch` holds a call; CMDB holds it for 20 s."""


def read(world: World, api: str, body: Item) -> Reply:
    """Answer one of them.

    Raises:
        Refused: CMDB says no.
    """
    limit, page = _CATALOGUE_LIMITS.get(api), body.get("page", {})
    if limit and not 0 < page.get("limit", 0) <= limit:
        raise Refused(1199035, f"page.limit exceeds {limit}")
    return _LISTINGS[api](world, body, page)


def _service_templates(world: World, body: Item, page: Item) -> Reply:
    return listing([item for item in world.service_templates if item["bk_biz_id"] == body["bk_biz_id"]], page)


def _process_templates(world: World, body: Item, page: Item) -> Reply:
    return listing(world.templates_of(body["service_template_id"])[::-1], page)  # newest first


def _modules(world: World, body: Item, page: Item) -> Reply:
    if not body.get("fields"):
        raise Refused(1199010, "fields must be set")
    return listing([only(item, body["fields"]) for item in world.modules], page)


def _module_batch(world: World, body: Item, _page: Item) -> Reply:
    found = [only(item, body["fields"]) for item in world.modules if item["bk_module_id"] in body["bk_ids"]]
    return success(found)


def _hosts_and_modules(world: World, body: Item, _page: Item) -> Reply:
    pairs = [(module, host) for module, hosts in world.hosts_of.items() for host in hosts]
    return success(
        [
            {"bk_biz_id": 1, "bk_host_id": host, "bk_module_id": module, "bk_set_id": 3}
            for module, host in pairs
            if host in body["bk_host_id"]
        ]
    )


def _hosts(world: World, body: Item, page: Item) -> Reply:
    found = world.hosts
    for rule in body.get("host_property_filter", {}).get("rules", ()):
        found = [item for item in found if item[rule["field"]] in rule["value"]]
    return listing([only(item, body["fields"]) for item in found], page)


def _hosts_of_modules(world: World, body: Item, page: Item) -> Reply:
    module_ids = body["bk_module_ids"]
    if not 0 < len(module_ids) <= _MOST_MODULES:
        raise Refused(1199035, f"bk_module_ids exceeds the limit {_MOST_MODULES}")
    modules_of: dict[int, list[Item]] = {}
    for module_id in module_ids:
        for host_id in world.hosts_of.get(module_id, []):
            modules_of.setdefault(host_id, []).append({"bk_module_id": module_id})
    found = [{"host": {"bk_host_id": host_id}, "modules": modules_of[host_id]} for host_id in sorted(modules_of)]
    return listing(found, page, "relation")


def _instances(world: World, body: Item, page: Item) -> Reply:
    if len(body.get("bk_host_ids") or ()) > _MOST_INSTANCES:
        raise Refused(1199035, f" search service instances exceeds the limit {_MOST_INSTANCES}")
    if not 0 <= page.get("limit", 0) <= _MOST_INSTANCES:
        raise Refused(1199059, "page.limit")
    found = _found(world, body, ("bk_host_ids", "bk_host_id"))
    if pattern := body.get("search_key"):
        found = [one for one in found if re.search(pattern, one["name"])]
    return listing([{name: one[name] for name in one if name != "process_instances"} for one in found], page)


def _details(world: World, body: Item, page: Item) -> Reply:
    if not 0 < page.get("limit", 0) <= _MOST_INSTANCES:
        raise Refused(1199059, "page.limit")
    if body.get("bk_host_id") and body.get("bk_host_list"):
        raise Refused(1199006, "bk_host_list")
    found = _found(world, body, ("bk_host_list", "bk_host_id"), ("service_instance_ids", "id"))
    return listing(found, {"sort": "-create_time", **page})


def _found(world: World, body: Item, *lists: tuple[str, str]) -> list[Item]:
    if not body.get("bk_biz_id"):
        raise Refused(1199006, "bk_biz_id")
    found = [one for one in world.instances if one["bk_biz_id"] == body["bk_biz_id"]]
    for name in ("bk_module_id", "bk_host_id"):
        if wanted := body.get(name):
            found = [one for one in found if one[name] == wanted]
    for asked, name in lists:
        if ids := set(body.get(asked) or ()):
            found = [one for one in found if one[name] in ids]
    return found


def _process_instances(world: World, body: Item, _page: Item) -> Reply:
    of_one = {**body, "service_instance_ids": [body.get("service_instance_id", 0)]}
    return success(
        [
            {"property": one["process"], "relation": one["relation"]}
            for instance in _found(world, of_one, ("service_instance_ids", "id"))
            for one in instance["process_instances"]
        ]
    )


def _watch(world: World, body: Item, _page: Item) -> Reply:
    """A cursor is the number of events so far; without one it is the present. Holds the call for a moment."""
    cursor = int(body.get("bk_cursor", len(world.events)))
    give_up_at = time.monotonic() + _WATCHED_S
    while not (new := world.events[cursor:]) and time.monotonic() < give_up_at:
        time.sleep(0.02)
    shown = [
        {"bk_cursor": str(cursor + number), "bk_resource": body["bk_resource"], "bk_detail": detail}
        for number, detail in enumerate(new, 1)
    ]
    nothing = [{"bk_cursor": str(cursor), "bk_resource": body["bk_resource"], "bk_detail": None}]
    return success({"bk_watched": bool(new), "bk_events": shown or nothing})


_LISTINGS: Final[Mapping[str, Callable[[World, Item, Item], Reply]]] = {
    "list_service_template": _service_templates,
    "list_proc_template": _process_templates,
    "find_module_with_relation": _modules,
    "find_module_batch": _module_batch,
    "find_host_biz_relations": _hosts_and_modules,
    "list_biz_hosts": _hosts,
    "find_module_host_relation": _hosts_of_modules,
    "list_service_instance": _instances,
    "list_service_instance_detail": _details,
    "list_process_instance": _process_instances,
    "resource_watch": _watch,
}
