"""What the CMDB of our own making creates, updates and refuses: the order and the codes of the real one."""

from typing import Any

import pytest

from chaos.cmdb.changes import CHANGES
from chaos.cmdb.exchange import Item, Refused
from chaos.cmdb.world import World, processes
from devstack import sample

BOUND, UNBOUND, TWO_PROCESSES, IDLE, WITHOUT_PROCESSES = 60, 61, 62, 63, 65


@pytest.fixture
def world() -> World:
    world = World()
    world.load(file for file in sample.CATALOGUE if "-biz-2" not in file.name)
    return world


def do(world: World, api: str, **body: Any) -> Any:
    """Call and commit; the answer."""
    change, answer = CHANGES[api](world, {"bk_biz_id": 1, **body}, "admin")
    world.commit(change)
    return answer


def create(world: World, bk_module_id: int, *instances: Item) -> list[int]:
    ids: list[int] = do(world, "create_service_instance", bk_module_id=bk_module_id, instances=list(instances))
    return ids


def info(name: str = "alpha", **values: Any) -> Item:
    return {"process_info": {"bk_process_name": name, "bk_func_name": name, **values}}


def code_of(world: World, api: str, **body: Any) -> int:
    with pytest.raises(Refused) as refused:
        do(world, api, **body)
    return refused.value.code


def test_template_makes_every_process_of_an_instance(world: World) -> None:
    (id_,) = create(world, TWO_PROCESSES, {"bk_host_id": 2})
    (instance,) = world.instances
    assert (instance["id"], instance["name"]) == (id_, "10.0.0.2_nginx_80")
    nginx, redis = instance["process_instances"]
    assert [one["relation"]["process_template_id"] for one in (nginx, redis)] == [2, 3]
    assert nginx["process"]["bind_info"] == [
        {"template_row_id": 1, "ip": "0.0.0.0", "port": "80", "protocol": "1", "enable": True},
        {"template_row_id": 2, "ip": "10.0.0.2", "port": "443", "protocol": "1", "enable": True},
    ]
    assert (redis["process"]["priority"], redis["process"]["timeout"]) == (5, None)


def test_caller_overrides_what_the_template_leaves_free(world: World) -> None:
    row = {"template_row_id": 1234, "ip": "127.0.0.1", "port": "81", "protocol": "2", "enable": False}
    unknown = {**row, "template_row_id": 7}
    asked = info("mine", timeout=30, bind_info=[row, unknown], unheard_of=1) | {"process_template_id": 1}
    create(world, BOUND, {"bk_host_id": 2, "processes": [asked]})
    (process,) = (one["process"] for one in processes(world.instances))
    assert (process["bk_process_name"], process["timeout"], process["priority"]) == ("job_java", 30, 5)
    assert process["bind_info"] == [{**row, "port": "80"}]
    assert "unheard_of" not in process
    assert world.instances[0]["name"] == "10.0.0.2_job_java_80"


def test_instance_without_template_is_made_as_often_as_it_is_asked_for(world: World) -> None:
    """The real one has no rule against it, so that whoever creates blindly is found out."""
    asked = {"bk_host_id": 2, "service_instance_name": "mine", "processes": [info()]}
    assert len({*create(world, UNBOUND, asked), *create(world, UNBOUND, asked)}) == 2
    assert [one["name"] for one in world.instances] == ["mine", "mine"]


def test_instance_of_a_template_exists_once_on_a_host(world: World) -> None:
    create(world, BOUND, {"bk_host_id": 2})
    again = [{"bk_host_id": 3}, {"bk_host_id": 2}]
    assert code_of(world, "create_service_instance", bk_module_id=BOUND, instances=again) == 1113016
    assert code_of(world, "create_service_instance", bk_module_id=BOUND, instances=[{"bk_host_id": 4}] * 2) == 1113016
    assert [one["bk_host_id"] for one in world.instances] == [2]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"bk_module_id": BOUND, "instances": []}, 1199010),
        ({"bk_module_id": BOUND, "instances": [{"bk_host_id": 2}] * 101}, 1199035),
        ({"bk_module_id": 404, "instances": [{"bk_host_id": 2}]}, 1101034),
        ({"bk_module_id": BOUND, "bk_biz_id": 2, "instances": [{"bk_host_id": 2}]}, 1113004),
        ({"bk_module_id": IDLE, "instances": [{"bk_host_id": 2}]}, 1199006),
        ({"bk_module_id": WITHOUT_PROCESSES, "instances": [{"bk_host_id": 2}]}, 1199006),
        ({"bk_module_id": UNBOUND, "instances": [{"bk_host_id": 2}]}, 1199010),
        ({"bk_module_id": BOUND, "instances": [{"bk_host_id": 404}]}, 1110056),
        ({"bk_module_id": BOUND, "instances": [{"bk_host_id": 2, "service_instance_name": "n" * 257}]}, 1199006),
        ({"bk_module_id": UNBOUND, "instances": [{"bk_host_id": 2, "processes": [{"process_info": {}}]}]}, 1199010),
        ({"bk_module_id": UNBOUND, "instances": [{"bk_host_id": 2, "processes": [info(timeout=0)]}]}, 1199011),
        ({"bk_module_id": UNBOUND, "instances": [{"bk_host_id": 2, "processes": [info(), info()]}]}, 1199014),
    ],
)
def test_refusals(world: World, body: Item, code: int) -> None:
    assert code_of(world, "create_service_instance", **body) == code
    assert world.instances == []


def test_more_processes_are_for_instances_without_template(world: World) -> None:
    (bound,) = create(world, BOUND, {"bk_host_id": 2})
    (free,) = create(world, UNBOUND, {"bk_host_id": 2, "processes": [info()]})
    api = "create_process_instance"
    (id_,) = do(world, api, service_instance_id=free, processes=[info("beta")])
    assert [one["process"]["bk_process_id"] for one in world.instances[1]["process_instances"]] == [2, id_]
    assert code_of(world, api, service_instance_id=bound, processes=[info("beta")]) == 1108035
    assert code_of(world, api, service_instance_id=free, processes=[info("beta")]) == 1199014
    assert code_of(world, api, service_instance_id=free, processes=[]) == 1199011
    assert code_of(world, api, service_instance_id=free, bk_biz_id=2, processes=[info("gamma")]) == 1199006


def test_update_replaces_a_process_without_template_and_merges_one_with(world: World) -> None:
    create(world, BOUND, {"bk_host_id": 2})
    create(world, UNBOUND, {"bk_host_id": 2, "processes": [info(user="me")]})
    bound, free = (one["process"]["bk_process_id"] for one in processes(world.instances))
    update = [info(timeout=7)["process_info"] | {"bk_process_id": id_} for id_ in (bound, free)]
    assert do(world, "update_process_instance", processes=update) == [bound, free]
    one, other = (one["process"] for one in processes(world.instances))
    assert (one["bk_process_name"], one["timeout"], one["priority"]) == ("job_java", 7, 5)
    assert (other["bk_process_name"], other["timeout"], other["user"]) == ("alpha", 7, None)
    assert code_of(world, "update_process_instance", processes=[{"bk_process_id": 404}]) == 1199011


def test_what_is_deleted_is_gone_and_its_id_is_not_given_again(world: World) -> None:
    (bound,) = create(world, BOUND, {"bk_host_id": 2})
    (free,) = create(world, UNBOUND, {"bk_host_id": 2, "processes": [info(), info("beta")]})
    bound_process, alpha, beta = (one["process"]["bk_process_id"] for one in processes(world.instances))
    assert code_of(world, "delete_process_instance", process_instance_ids=[bound_process]) == 1113022
    do(world, "delete_process_instance", process_instance_ids=[alpha])
    assert [one["process"]["bk_process_id"] for one in world.instances[1]["process_instances"]] == [beta]
    do(world, "delete_process_instance", process_instance_ids=[beta])
    assert [one["id"] for one in world.instances] == [bound]
    assert code_of(world, "delete_service_instance", service_instance_ids=[bound, free]) == 1199006
    do(world, "delete_service_instance", service_instance_ids=[bound])
    assert world.instances == []
    assert create(world, BOUND, {"bk_host_id": 2}) == [free + 1]
