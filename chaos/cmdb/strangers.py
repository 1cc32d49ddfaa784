"""People at CMDB's own pages, who create and remove instances of theirs while others read and write."""

import random
import uuid
from typing import Final

from chaos.cmdb.changes import create_service_instance
from chaos.cmdb.exchange import Item
from chaos.cmdb.world import Change, World

NAME: Final = "stranger"
"""Who they are, as creator; their instances are in modules without template, where they are in nobody's way."""


def meddle(world: World, choose: random.Random) -> None:
    """One of them creates an instance, or removes the oldest of theirs, and every page behind it moves."""
    theirs = [one["id"] for one in world.instances if one["creator"] == NAME]
    if theirs and choose.random() < 0.5:
        world.commit(Change(deleted=theirs[:1]))
        return
    modules = [item for item in world.modules if not (item["service_template_id"] or item["default"])]
    if modules:
        change, _ = create_service_instance(world, _wish(world, choose.choice(modules), choose), NAME)
        world.commit(change)


def _wish(world: World, module: Item, choose: random.Random) -> Item:
    host = choose.choice(world.hosts_of[module["bk_module_id"]])
    process = {"process_info": {"bk_process_name": "theirs", "bk_func_name": "theirs"}}
    named = {"service_instance_name": f"{NAME} {uuid.uuid4().hex[:8]}", "processes": [process]}
    return {
        "bk_biz_id": module["bk_biz_id"],
        "bk_module_id": module["bk_module_id"],
        "instances": [{"bk_host_id": host, **named}],
    }
