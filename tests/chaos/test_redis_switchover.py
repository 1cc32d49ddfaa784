"""Redis' role moves to its replica, and a name, a VIP or a Service leads there: new connections alone find the way."""

import json
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis as redis_client

from api_shim.refusals import BrokerUnavailable
from chaos.proxy import FaultProxy
from chaos.switchover import change_places, follow
from contract.message import QUEUE_NAME, make_celery, new_request_id, send_message
from contract.settings import Settings
from devstack.process import Guard
from devstack.servers import Valkey
from tests.chaos.nursery import wait_until
from tests.chaos.system import System, bound, on_both_transports, unbound


@pytest.fixture
def replica(valkey: Valkey, guard: Guard, tmp_path: Path) -> Iterator[Valkey]:
    """Of `valkey`, with the same password."""
    directory = tmp_path / "replica"
    directory.mkdir()
    (directory / "password").write_text(valkey.password)
    with Valkey(directory, guard) as server:
        follow(server, valkey)
        yield server


@on_both_transports
def test_primary_and_replica_change_places_behind_a_name(
    open_system: Callable[[str, str], System], valkey: Valkey, replica: Valkey, dsn: str
) -> None:
    with FaultProxy(valkey.port or 0) as name, redis_client.Redis.from_url(valkey.url) as old:
        system = open_system(valkey.url.replace(f":{valkey.port}/", f":{name.port}/"), dsn)
        worker = system.worker()
        _, shim = system.shim()
        system.listening(worker)
        wait_until(lambda: _ready(shim), what="shim ready")
        system.submit(bound(1), unbound(2))
        system.finish()
        assert f"port {valkey.port}," in _ready(shim)

        change_places(valkey, replica, lambda: name.move(replica.port or 0))

        # The submitter's connections, its first call included; the worker's leases and its consumer; the shim's.
        system.submit(bound(3), unbound(4))
        system.all_succeed()
        wait_until(lambda: f"port {replica.port}," in _ready(shim), what="shim ready on the new primary")
        assert worker.returncode is None
        left = [client for client in old.client_list() if client["flags"] == "N"]
        assert len(left) == 1, "nobody but who asks is left there"


def test_queue_on_a_redis_of_its_own_whose_role_moves(valkey: Valkey, replica: Valkey) -> None:
    """A sender, which kombu's connections serve. They need nothing of ours."""
    with FaultProxy(valkey.port or 0) as name:
        app = make_celery(Settings(redis_url=valkey.url.replace(f":{valkey.port}/", f":{name.port}/")))
        send_message(app, new_request_id(), "first")
        change_places(valkey, replica, lambda: name.move(replica.port or 0))

        send_message(app, new_request_id(), "second")
        app.close()
        with redis_client.Redis.from_url(replica.url) as new:
            assert [b"second" in message for message in new.lrange(QUEUE_NAME, 0, -1)] == [True, False]


def test_user_who_loses_rights_and_gets_them_back(system: System, valkey: Valkey) -> None:
    """By a new connection, as whoever changes users expects."""
    with system.redis() as operator:
        operator.acl_setuser("app", enabled=True, passwords=["+pw"], keys=["*"], channels=["*"], commands=["+@all"])
        system.redis_url = f"redis://app:pw@127.0.0.1:{valkey.port}/0"
        try:
            worker = system.worker()
            system.listening(worker)
            system.submit(bound(1))
            system.finish()
            operator.acl_setuser("app", enabled=True, commands=["-@write"])
            with pytest.raises(BrokerUnavailable):
                system.submit(bound(2))
            operator.acl_setuser("app", enabled=True, commands=["+@all"])
            system.submit_when_possible(bound(2), unbound(3))
            system.all_succeed()
            assert worker.returncode is None
        finally:
            system.close()
            operator.acl_deluser("app")


def _ready(shim: str) -> str:
    """What ``/readyz`` says of Redis; empty while it is not ready."""
    try:
        with urllib.request.urlopen(f"{shim}/readyz", timeout=10) as answer:
            return str(json.load(answer)["redis"])
    except OSError:
        return ""
