"""Redis goes away and comes back, refuses, or forgets: promises 1, 2 and 6, and workers go on without a restart."""

import time
from collections.abc import Callable, Iterator

import pytest

from api_shim.refusals import BrokerUnavailable
from chaos.proxy import FaultProxy
from contract.message import new_request_id
from contract.redis.records import Keys
from devstack.servers import Valkey
from tests.chaos.nursery import Child, wait_until
from tests.chaos.system import APP, System, bound, on_both_transports, unbound


@pytest.fixture
def behind_proxy(
    open_system: Callable[[str, str], System], valkey: Valkey, dsn: str
) -> Iterator[tuple[System, FaultProxy]]:
    """A system that reaches Redis through a proxy."""
    assert valkey.port is not None
    with FaultProxy(valkey.port) as proxy:
        system = open_system(valkey.url.replace(f":{valkey.port}/", f":{proxy.port}/"), dsn)
        yield system, proxy
        proxy.restore()
        system.close_callers()


def _go_on(system: System, *workers: Child, seconds: float = 30) -> None:
    """The same processes take new work, and nothing that was accepted is missing."""
    system.submit_when_possible(bound(101), unbound(101, name="after"), seconds=seconds)
    system.all_succeed(seconds=seconds)
    assert [worker.returncode for worker in workers] == [None] * len(workers), system.logs()


@on_both_transports
@pytest.mark.parametrize("way", ["stop", "kill"])
def test_restart_of_redis_with_work_waiting_and_in_flight(system: System, valkey: Valkey, way: str) -> None:
    worker = system.worker("before_publish=hold", BKSI_WORKER_CONCURRENCY="2")
    system.submit(*[bound(host) for host in range(1, 9)])
    system.passed("before_publish", 2)

    getattr(valkey, way)()
    system.release("before_publish")
    with pytest.raises(BrokerUnavailable):
        system.submit(bound(50))
    valkey.start()

    _go_on(system, worker)


@on_both_transports
def test_outage_of_redis_longer_than_a_lease(system: System, valkey: Valkey) -> None:
    worker = system.worker("before_publish=hold", BKSI_WORKER_CONCURRENCY="2")
    system.submit(*[unbound(host) for host in range(1, 6)])
    system.passed("before_publish", 2)

    valkey.stop()
    system.release("before_publish")
    started = time.monotonic()
    wait_until(lambda: time.monotonic() - started > 2)  # twice the lease
    valkey.start()

    _go_on(system, worker)
    # Requests may have ended by a connection that came back before the one that tells it.
    wait_until(lambda: "redis is back" in worker.log.read_text(), what="the end of the outage in the log")
    said = worker.log.read_text()
    assert (said.count("redis is away"), said.count("redis is back")) == (1, 1)
    assert "Cannot connect" not in said


@on_both_transports
def test_redis_that_is_read_only_for_a_while(system: System, valkey: Valkey) -> None:
    worker = system.worker("before_publish=hold:1")
    system.submit(bound(1), unbound(2))
    system.passed("before_publish")
    with system.redis() as client:
        client.replicaof("127.0.0.1", 1)
        with pytest.raises(BrokerUnavailable):
            system.submit(bound(50))
        refused = client.info("errorstats")["errorstat_READONLY"]["count"]
        system.release("before_publish")
        wait_until(lambda: client.info("errorstats")["errorstat_READONLY"]["count"] > refused)
        client.replicaof("NO", "ONE")

    _go_on(system, worker)


@on_both_transports
def test_redis_that_is_out_of_memory_for_a_while(system: System, valkey: Valkey, transport: str) -> None:
    worker = system.worker("after_lease=hold:1")
    system.submit(bound(1), unbound(2), bound(3))
    system.passed("after_lease")
    with system.redis() as client:
        client.config_set("maxmemory", "1mb")
        with pytest.raises(BrokerUnavailable):
            system.submit(bound(50))
        system.release("after_lease")
        # What was accepted goes on; kombu's own transport cannot take anything, for it copies every message.
        if transport == "guarded":
            system.finish()
        client.config_set("maxmemory", "0")

    _go_on(system, worker)


def test_worker_that_connects_while_redis_is_full_empties_it(system: System, valkey: Valkey) -> None:
    """Binding its queue is refused then, and made up for: only senders need it. A key in the way is no hindrance."""
    system.submit(bound(1), unbound(2), bound(3))
    with system.redis() as client:
        client.sadd("service_instance\x06\x166", "x")
        client.config_set("maxmemory", "1mb")
        worker = system.worker()
        system.finish()
        assert not client.exists("_kombu.binding.service_instance", "service_instance\x06\x166")
        client.config_set("maxmemory", "0")
        wait_until(lambda: client.exists("_kombu.binding.service_instance"), what="the queue's binding")

    _go_on(system, worker)


@pytest.mark.parametrize(
    ("transport", "fault"),
    # kombu's own transport is back from dead connections after 16 s, which the suite does not wait for.
    [("guarded", "cut"), ("stock", "cut"), ("guarded", "freeze_open")],
    indirect=["transport"],
)
def test_connections_to_redis_that_break_or_go_dead(behind_proxy: tuple[System, FaultProxy], fault: str) -> None:
    system, proxy = behind_proxy
    worker = system.worker()
    system.listening(worker)
    system.submit(bound(1))
    system.finish()

    getattr(proxy, fault)()

    _go_on(system, worker)


@pytest.mark.bad_input(105, "FLUSHALL", "what had ended is answered from PostgreSQL; what was pending is lost")
def test_report_that_redis_lost_is_the_same_when_asked_for_again(system: System, valkey: Valkey) -> None:
    system.worker()
    ids = system.submit(bound(1, 2), unbound(1), bound(404))
    before = system.finish()
    assert [report.code for report in before] == [0, 0, 1110056]
    with system.redis() as client:
        client.flushall()

        # And of one of them the half that a lease has written, which an old server keeps when it drops the rest.
        client.hset(Keys("bksi:").request(ids[0]), mapping={"attempts": 1, "owner": "x", "lease": 2**50})

    assert system.finish() == before
    assert [system.told[id_].reports[0] == system.told[id_].reports[1] for id_ in ids] == [True] * 3
    judged = system.judge()
    assert (judged.accepted, judged.ended) == (3, {"SUCCESS": 2, "FAILED": 1})


def test_bare_message_that_was_asked_for_before_it_was_taken_is_found_when_its_report_is_lost(system: System) -> None:
    """That nobody knew it then is remembered for a while, and may not be believed any more."""
    request_id = new_request_id()
    worker = system.worker()
    system.listening(worker)
    assert system.poll(request_id) is None
    system.send_direct(request_id, bound(1))
    with system.redis() as client:
        wait_until(lambda: client.exists(Keys("bksi:").result(request_id)))
        client.delete(Keys("bksi:").result(request_id))

    system.all_succeed()
    assert worker.returncode is None


def test_request_purged_from_the_ledger_is_gone_and_not_unknown(system: System) -> None:
    from api_shim.refusals import Expired

    system.worker()
    (request_id,) = system.submit(bound(1))
    system.finish()
    system.sql("UPDATE request_ledger SET report = NULL")
    with system.redis() as client:
        client.delete(Keys("bksi:").result(request_id))

    with pytest.raises(Expired) as raised:
        system.run(system.submitter.poll(request_id, APP))
    assert raised.value.status.value == "SUCCESS"
    assert system.poll(request_id, "another") is None
    assert system.poll(new_request_id()) is None
