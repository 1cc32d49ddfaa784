"""The Celery message: its task, its queue, its arguments, and how to build it without I/O.

A submitter's message carries the ``request_id`` alone, because Flower's worker page and ``celery inspect`` show raw
arguments whatever ``argsrepr`` says, and start commands hold passwords; the payload waits in the pending entry. A
service that has nothing of ours may send ``{"request_id", "batch", "caller"}`` with plain Celery instead.
"""

import base64
import json
import os
import uuid
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, Final, Literal, Self, cast

import orjson
from celery import Celery
from kombu import Exchange, Queue
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import PydanticCustomError

from contract.answer.status import Warning_
from contract.request.batch import ServiceInstanceBatch
from contract.settings import Settings

TASK_NAME: Final = "service_instance.create_batch.v1"
"""Run one request. kwargs: ``request_id``, and for a direct message ``batch`` and ``caller``."""
PUBLISH_TASK_NAME: Final = "service_instance.publish_report.v1"
"""Publish the envelope of a finished request again from PostgreSQL. kwargs: ``request_id``."""
DELIVER_TASK_NAME: Final = "service_instance.deliver.v1"
"""Hand on to CMDB what a request created, and all else that waits for its module. kwargs: ``request_id``."""
QUEUE_NAME: Final = "service_instance"
REDIS_SOCKET_OPTIONS: Final = {
    # kombu's own default is to wait for ever on a peer that has vanished. Every answer is due within a second.
    "socket_timeout": 5,
    "socket_connect_timeout": 3,
    "socket_keepalive": True,
    "health_check_interval": 5,
}
"""Of ``broker_transport_options``, for any app that speaks to Redis."""
REQUEST_ID_PATTERN: Final = r"^[0-9a-f]{32}$"


class Caller(BaseModel):
    """Who asked, as far as it is stored: never a secret, never a token."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    bk_app_code: str = Field(default="", max_length=128)
    bk_username: str = Field(default="", max_length=128)
    bk_supplier_account: str = Field(default="0", max_length=128)


_NOBODY: Final = Caller()


def _places_exist(batch: ServiceInstanceBatch) -> ServiceInstanceBatch:
    if any(place is not None and place >= len(batch.processes) for _, _, place in batch.instances):
        raise PydanticCustomError("no_such_place", "no such process list")
    return batch


Kind = Literal["create", "validate"]


@dataclass(frozen=True, slots=True)
class Payload:
    """What a pending entry holds under a request_id, as JSON."""

    request_id: Annotated[str, Field(pattern=REQUEST_ID_PATTERN)]
    batch: Annotated[ServiceInstanceBatch, AfterValidator(_places_exist)]
    caller: Caller = _NOBODY
    warnings: tuple[Warning_, ...] = ()
    kind: Kind = "create"

    @classmethod
    def write(
        cls,
        request_id: str,
        batch: ServiceInstanceBatch,
        caller: Caller,
        warnings: tuple[Warning_, ...] = (),
        kind: Kind = "create",
    ) -> bytes:
        """As it is stored."""
        return orjson.dumps(
            {
                "request_id": request_id,
                "batch": batch,
                "caller": caller.model_dump(exclude_unset=True),
                "warnings": warnings,
                "kind": kind,
            }
        )

    @classmethod
    def load(cls, stored: bytes | str) -> Self:
        """What `write` wrote. It is not checked again: the script that submits wrote it, and nobody else may."""
        values = orjson.loads(stored)
        return cls(
            values["request_id"],
            ServiceInstanceBatch.trusted(values["batch"]),
            Caller(**values["caller"]),
            tuple(values["warnings"]),
            values["kind"],
        )

    @classmethod
    def check(cls, stored: bytes | str) -> Self:
        """What `write` of some version wrote: kept for longer than a version may stand.

        Raises:
            ValueError: it is nothing that this version takes.
        """
        try:
            return cast("Self", _PAYLOAD.validate_json(stored))
        except ValidationError:  # whose text has values in it
            raise ValueError("no payload that this version takes") from None


_PAYLOAD: Final = TypeAdapter(Payload)


class TaskArguments(BaseModel):
    """The kwargs of every task. All but `request_id` come only from a service that sends without our submitter.

    Args:
        request_id: 32 lowercase hex digits, made by the sender from a random uuid4; also the ``task_id``.
        batch: the body of ``POST /v1/batches``, without credentials.
        caller: who asks; only this ``bk_app_code`` may poll the request.
        signed: instead of `batch` and `caller`, the same as a JSON Web Signature that proves who asks; see
            docs/direct-messages.md.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    request_id: str = Field(pattern=REQUEST_ID_PATTERN)
    batch: dict[str, Any] | None = None
    caller: Caller = Caller()
    signed: str | None = None

    @property
    def is_direct(self) -> bool:
        """Whether the message brings all there is of its request."""
        return self.batch is not None or self.signed is not None


def new_request_id() -> str:
    """A fresh random uuid4 as 32 lowercase hex characters: 122 random bits, not to be guessed."""
    return uuid.uuid4().hex


def summary(biz: int, module: int, instances: int) -> str:
    """The one line Flower shows as the task's arguments."""
    return f"biz={biz} module={module} instances={instances}"


def make_celery(settings: Settings) -> Celery:
    """A Celery app that knows the broker, the queue and nothing of the tasks; both sides start from it."""
    app = Celery("bksi", broker=settings.broker, set_as_current=False)
    app.conf.update(
        task_default_queue=QUEUE_NAME,
        task_queues=(
            Queue(QUEUE_NAME, Exchange(QUEUE_NAME), routing_key=QUEUE_NAME, queue_arguments=_arguments(settings)),
        ),
        # A typo in a queue's name must fail where it is made, not fill a queue that nobody reads.
        task_create_missing_queues=False,
        task_serializer="json",
        result_serializer="json",
        accept_content=["json"],
        result_accept_content=["json"],
        # The envelope is the result. A Celery result could be overwritten by whoever can write the queue.
        result_backend=None,
        task_ignore_result=True,
        task_send_sent_event=False,
        task_publish_retry=True,
        task_publish_retry_policy={"max_retries": 3, "interval_start": 0.05, "interval_max": 0.5},
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options=_transport_options(settings),
    )
    return app


def _arguments(settings: Settings) -> dict[str, str] | None:
    return {"x-queue-type": "quorum"} if settings.broker_is_rabbitmq else None


def _transport_options(settings: Settings) -> dict[str, Any]:
    if settings.broker_is_rabbitmq:
        return {"confirm_publish": True}
    # Recovery is the reaper's; redelivery by the clock alone would run what is merely slow a second time.
    return {"visibility_timeout": 3600, **REDIS_SOCKET_OPTIONS}


def build_message(
    app: Celery, request_id: str, argsrepr: str = "", headers: dict[str, str] | None = None, *, task: str = TASK_NAME
) -> bytes:
    """The bytes that ``apply_async`` would push to the queue's Redis list, made without touching a broker.

    ``tests/integration/contract/test_message_contract.py`` holds the two equal, because kombu's wire format is no
    public API.
    """
    kwargs, task_id = {"request_id": request_id}, _task_id(task, request_id)
    return _wire_message(app, task, kwargs, task_id=task_id, argsrepr=argsrepr, headers=headers)


def build_direct_message(app: Celery, arguments: TaskArguments) -> bytes:
    """The message of a sender that has nothing of ours, made again from its arguments."""
    # Not orjson, which does not write all that a foreign message may hold, half a surrogate pair for example.
    kwargs = json.dumps(arguments.model_dump(exclude_unset=True), default=str)
    return _wire_message(app, TASK_NAME, orjson.Fragment(kwargs), task_id=arguments.request_id)


def send_message(
    app: Celery, request_id: str, argsrepr: str = "", headers: dict[str, str] | None = None, *, task: str = TASK_NAME
) -> None:
    """The same message through Celery, for a queue that is not on the Redis of pending entries. Blocks on the broker.

    Raises:
        kombu.exceptions.KombuError: the broker did not take it.
        OSError: the broker cannot be reached.
    """
    kwargs, task_id = {"request_id": request_id}, _task_id(task, request_id)
    _send(app, task, kwargs, task_id=task_id, argsrepr=argsrepr, headers=headers)


def send_direct_message(app: Celery, arguments: TaskArguments) -> None:
    """A direct message once more; raises as `send_message` does."""
    _send(app, TASK_NAME, arguments.model_dump(exclude_unset=True), task_id=arguments.request_id)


def _task_id(task: str, request_id: str) -> str:
    """A request runs under its own id; that its report is asked for is a task of its own."""
    return request_id if task == TASK_NAME else new_request_id()


def _send(
    app: Celery,
    task_name: str,
    kwargs: dict[str, Any],
    *,
    task_id: str,
    argsrepr: str = "",
    headers: dict[str, str] | None = None,
) -> None:
    app.send_task(
        task_name,
        kwargs=kwargs,
        task_id=task_id,
        queue=QUEUE_NAME,
        argsrepr=argsrepr,
        kwargsrepr="",
        headers=headers,
        ignore_result=True,
    )


def _wire_message(
    app: Celery,
    task_name: str,
    kwargs: "dict[str, Any] | orjson.Fragment",
    *,
    task_id: str,
    argsrepr: str = "",
    headers: dict[str, str] | None = None,
) -> bytes:
    always, embed = _skeleton(app, task_name, os.getpid())
    own = {"id": task_id, "root_id": task_id, "argsrepr": argsrepr}
    return orjson.dumps(
        {
            "body": base64.b64encode(orjson.dumps([[], kwargs, embed])).decode(),
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": {**always, **own, **(headers or {})},
            "properties": {
                "correlation_id": task_id,
                "reply_to": "",
                "delivery_mode": 2,
                "delivery_info": {"exchange": "", "routing_key": QUEUE_NAME},
                "priority": 0,
                "body_encoding": "base64",
                # Unique per push: kombu files an unacknowledged message under it.
                "delivery_tag": str(uuid.uuid4()),
            },
        }
    )


@lru_cache(maxsize=16)
def _skeleton(app: Celery, task_name: str, pid: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """The headers and the body's third part that all messages of a task have, as Celery makes them."""
    task = app.amqp.as_task_v2("", task_name, (), {}, argsrepr="", kwargsrepr="", ignore_result=True)
    return task.headers, task.body[2]
