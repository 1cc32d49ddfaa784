"""Which transport a worker's Celery app consumes with."""

import ssl
from collections.abc import Collection
from typing import Final
from urllib.parse import urlsplit

import structlog
from celery import Celery

from contract.message import REDIS_SOCKET_OPTIONS
from contract.settings import Settings

_log = structlog.get_logger(__name__)
TRANSPORT: Final = "worker.consumer.transport.redis:Transport"
AMQP_TRANSPORT: Final = "worker.consumer.transport.amqp:Transport"
AMQPS_TRANSPORT: Final = "worker.consumer.transport.amqp:SSLTransport"


def use_transport(app: Celery, settings: Settings, task_names: Collection[str]) -> None:
    """Have `app` consume with a guarded transport, unless ``settings.transport`` is ``stock``.

    The transport options that `app` has stay; ours come on top.

    Args:
        app: the worker's app. Senders need nothing of this.
        settings: says the broker, the transport, the prefix of the keys and how soon a consumer counts as dead.
        task_names: the tasks this worker runs. What names another one becomes a dead letter, unless it is a newer
            version (``….v2``) of one of these: that is parked for a newer worker.
    """
    scheme = urlsplit(settings.broker).scheme
    if settings.transport == "stock":
        _log.warning("no message is checked before Celery sees it", transport="stock")
        return
    if settings.broker_is_rabbitmq:
        app.conf.broker_transport = AMQPS_TRANSPORT if scheme == "amqps" else AMQP_TRANSPORT
        app.conf.broker_transport_options = {
            **app.conf.broker_transport_options,
            "task_names": sorted(task_names),
            "key_prefix": settings.key_prefix,
            "redis_url": settings.redis_url,
            "redis_timeout_s": settings.redis_timeout_s,
        }
        return
    app.conf.broker_transport = TRANSPORT
    if scheme == "rediss" and not app.conf.broker_use_ssl:
        # kombu looks at the name of the transport for this, which is ours now, and would not check the certificate.
        app.conf.broker_use_ssl = {"ssl_cert_reqs": ssl.CERT_REQUIRED}
    app.conf.broker_transport_options = {
        **REDIS_SOCKET_OPTIONS,
        **app.conf.broker_transport_options,
        "key_prefix": settings.key_prefix,
        "owner_ttl_ms": settings.owner_ttl_ms,
        "task_names": sorted(task_names),
    }
