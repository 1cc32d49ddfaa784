"""The CMDB of our own making comes back as it was, whenever it was killed."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from chaos.cmdb.changes import CHANGES
from chaos.cmdb.world import World
from devstack import sample


@contextmanager
def world(journal: Path) -> Iterator[World]:
    with closing(World(journal, first_id=500)) as world:
        world.load(file for file in sample.CATALOGUE if "-biz-2" not in file.name)
        yield world


def do(world: World, api: str, **body: Any) -> Any:
    change, answer = CHANGES[api](world, {"bk_biz_id": 1, **body}, "admin")
    world.commit(change)
    return answer


def create_on(world: World, *hosts: int) -> None:
    instances = [{"bk_host_id": host} for host in hosts]
    do(world, "create_service_instance", bk_module_id=60, instances=instances)


def info(name: str) -> dict[str, Any]:
    return {"process_info": {"bk_process_name": name, "bk_func_name": name}}


def test_all_that_was_kept_is_there_again(tmp_path: Path) -> None:
    one = {"bk_host_id": 2, "processes": [info("alpha")]}
    with world(tmp_path / "journal") as before:
        (first,) = do(before, "create_service_instance", bk_module_id=61, instances=[one])
        create_on(before, 2, 3)
        (added,) = do(before, "create_process_instance", service_instance_id=first, processes=[info("beta")])
        changed = {"bk_process_id": added, "bk_process_name": "b", "bk_func_name": "b"}
        do(before, "update_process_instance", processes=[changed])
        do(before, "delete_service_instance", service_instance_ids=[first + 2])

    with world(tmp_path / "journal") as after:
        assert after.instances == before.instances
        assert [item["id"] for item in after.instances] == [500, 501]
        assert after.new_ids("instance", 1)[0] == 503


def test_what_was_cut_off_has_never_happened(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    with world(journal) as before:
        create_on(before, 2)
        create_on(before, 3)
    journal.write_bytes(journal.read_bytes()[:-10])

    with world(journal) as after:
        assert [item["bk_host_id"] for item in after.instances] == [2]
        create_on(after, 3)

    with world(journal) as at_last:
        assert [item["bk_host_id"] for item in at_last.instances] == [2, 3]
