"""Which transport a worker consumes with is one setting; everything else stays what Celery makes of the URL."""

import ssl

import pytest
from celery import Celery

from contract.message import make_celery
from contract.settings import Settings
from worker.consumer.transport.configure import TRANSPORT, use_transport


def _guarded(**settings: str) -> Celery:
    chosen = Settings(**settings)  # type: ignore[arg-type]
    app = make_celery(chosen)
    use_transport(app, chosen, ["b.v1", "a.v1"])
    return app


@pytest.mark.parametrize("scheme", ["redis", "rediss"])
def test_redis_is_consumed_with_the_guarded_transport(scheme: str) -> None:
    app = _guarded(redis_url=f"{scheme}://127.0.0.1:1/0")

    with app.connection_for_read() as connection:
        assert f"{connection.transport_cls}" == TRANSPORT
        assert connection.transport_options["task_names"] == ["a.v1", "b.v1"]
    assert (app.conf.broker_use_ssl or None) == ({"ssl_cert_reqs": ssl.CERT_REQUIRED} if scheme == "rediss" else None)


def test_stock_transport_is_one_setting_away() -> None:
    app = _guarded(redis_url="redis://127.0.0.1:1/0", transport="stock")

    with app.connection_for_read() as connection:
        assert connection.transport.driver_type == "redis"
        assert type(connection.transport).__module__ == "kombu.transport.redis"


@pytest.mark.parametrize("scheme", ["amqp", "amqps", "pyamqp"])
def test_rabbitmq_is_consumed_with_the_same_guard(scheme: str) -> None:
    app = _guarded(broker_url=f"{scheme}://127.0.0.1:1//")

    with app.connection_for_read() as connection:
        assert type(connection.transport).__module__ == "worker.consumer.transport.amqp"
        assert bool(connection.ssl) == (scheme == "amqps")
    assert app.conf.task_queues[0].queue_arguments == {"x-queue-type": "quorum"}
    assert _guarded(broker_url=f"{scheme}://127.0.0.1:1//", transport="stock").conf.broker_transport is None
