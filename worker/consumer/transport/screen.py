"""Which messages may reach Celery: pure checks of the raw bytes.

Celery trusts its queue. A message without ``id`` freezes it, one whose body is no triple ends the worker, one with
embedded callbacks has it send any task, one with ``compression`` has it inflate a bomb. Whoever can write the queue
could do that, by accident too.
"""

import base64
import binascii
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

import orjson
from celery.app.task import Context
from kombu.utils.json import loads

LARGEST_MESSAGE: Final = 2 * 1024 * 1024
"""Bytes of a raw message on the wire."""
PARSE_ERRORS: Final = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
_LONGEST_NAME: Final = 255
_LONGEST_REPR: Final = 4 * 1024
"""Four times what Celery writes; Flower keeps it for each of the tasks it remembers."""
_EMBEDDED: Final = frozenset({"callbacks", "errbacks", "chain", "chord"})
_VERSION: Final = re.compile(r"(?P<stem>.+)\.v(?P<version>\d{1,6})")


class Unfit(Exception):
    """The message may not reach Celery. The text says why, and never holds a value of the message."""


class NewerVersion(Exception):
    """The message is for a newer version of a task that is known here: some other worker's, soon.

    `task` is its name, as the message has it.
    """

    def __init__(self, task: str) -> None:
        super().__init__()
        self.task = task


class Screen:
    """Decides about raw messages.

    `task_names` are the tasks that run here; ``None`` leaves unknown names to Celery, which drops the message.
    """

    def __init__(self, task_names: Collection[str] | None = None) -> None:
        self.names = None if task_names is None else frozenset(task_names)
        self._newest: dict[str, int] = {}
        for match in filter(None, map(_VERSION.fullmatch, self.names or ())):
            stem, version = match["stem"], int(match["version"])
            self._newest[stem] = max(version, self._newest.get(stem, version))

    def check(self, raw: bytes, size: int | None = None) -> dict[str, Any]:
        """Look at one raw message; `size` is its length where `raw` is only its beginning.

        Returns:
            The wire message, as kombu's virtual transports expect it, with its body, ``[args, kwargs, embed]``, under
            ``decoded``.

        Raises:
            Unfit: it may not reach Celery.
            NewerVersion: its task is newer than this worker.
        """
        if (size or len(raw)) > LARGEST_MESSAGE:
            raise Unfit(f"larger than {LARGEST_MESSAGE} bytes")
        payload = _object(_parse(raw, "the message"), "the message")
        self._check_headers(payload.get("content-type"), payload.get("content-encoding"), payload.get("headers"))
        _check_properties(_object(payload.get("properties"), "properties"))
        payload["decoded"] = _content(_decoded(payload.get("body")))
        return payload

    def check_parts(self, content_type: Any, content_encoding: Any, headers: Any, body: bytes) -> None:
        """Look at a message that came in parts, as AMQP has it.

        Raises:
            Unfit, NewerVersion: as `check`.
        """
        if len(body) > LARGEST_MESSAGE:
            raise Unfit(f"larger than {LARGEST_MESSAGE} bytes")
        self._check_headers(content_type, content_encoding, headers)
        _content(body)

    def _check_headers(self, content_type: Any, content_encoding: Any, headers: Any) -> None:
        if content_type != "application/json":
            raise Unfit("content-type is not application/json")
        if not isinstance(content_encoding, str) or content_encoding.lower() != "utf-8":
            raise Unfit("content-encoding is not utf-8")
        _check_headers(_object(headers, "headers"))
        self._check_task(headers["task"])

    def _check_task(self, name: str) -> None:
        if self.names is None or name in self.names:
            return
        match = _VERSION.fullmatch(name)
        if match and int(match["version"]) > self._newest.get(match["stem"], int(match["version"])):
            raise NewerVersion(name)
        raise Unfit("headers.task is unknown here")


def read_json(text: bytes) -> Any:
    """JSON as kombu writes it: datetimes, uuids and the like are {"__type__", "__value__"}, which only it can read."""
    return loads(text) if b"__type__" in text else orjson.loads(text)


def _parse(text: bytes, what: str) -> Any:
    try:
        return read_json(text)
    except PARSE_ERRORS:
        raise Unfit(f"{what} is not JSON") from None


def _object(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Unfit(f"{what} is not an object")
    return value


def _check_headers(headers: dict[str, Any]) -> None:
    for name in ("id", "task"):
        if not is_name(headers.get(name)):
            raise Unfit(f"headers.{name} is missing or no name")
    for name, value in headers.items():
        allowed = _HEADERS.get(name)
        if allowed is None:
            # Celery makes attributes of its request from headers: any other one of its own names would be overridden.
            if name in _TAKEN:
                raise Unfit("headers hold a name that is Celery's own")
        elif value is not None and not allowed(value):
            raise Unfit(f"headers.{name} is malformed")


def _check_properties(properties: dict[str, Any]) -> None:
    if properties.get("body_encoding") != "base64":
        raise Unfit("properties.body_encoding is not base64")
    delivery = _object(properties.get("delivery_info"), "properties.delivery_info")
    for name in ("exchange", "routing_key"):
        if not isinstance(delivery.get(name), str):
            raise Unfit(f"properties.delivery_info.{name} is not a text")
    for name, allowed in _PROPERTIES.items():
        value = properties.get(name)
        if value is not None and not allowed(value):
            raise Unfit(f"properties.{name} is malformed")


def _decoded(body: Any) -> bytes:
    if not isinstance(body, str):
        raise Unfit("the body is not a text")
    try:
        # Strictly: kombu's reader skips what is not base64, and must not see another text than this one.
        return base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError):
        raise Unfit("the body is not base64") from None


def _content(decoded: bytes) -> list[Any]:
    content = _parse(decoded, "the body")
    if not isinstance(content, list) or len(content) != 3:
        raise Unfit("the body is not [args, kwargs, embed]")
    args, kwargs, embed = content
    if not isinstance(args, list) or not isinstance(kwargs, dict):
        raise Unfit("the body's args or kwargs have the wrong type")
    if embed is not None and (not isinstance(embed, dict) or not embed.keys() <= _EMBEDDED):
        raise Unfit("the body's embed is malformed")
    if any((embed or {}).values()):
        raise Unfit("the body embeds callbacks")
    return content


def is_name(value: Any) -> bool:
    """Whether it may name a task or a message."""
    return isinstance(value, str) and 0 < len(value) <= _LONGEST_NAME and value.isprintable()


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**31


def _is_count(value: Any) -> bool:
    return _is_int(value) and value >= 0


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool)


def _are_no_limits(value: Any) -> bool:
    return isinstance(value, list) and value == [None, None]


def _is_short(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= _LONGEST_NAME


def _is_repr(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= _LONGEST_REPR


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


# Everything that Celery 5.7 reads from a message of protocol 2; each may also be null.
_HEADERS: Final[Mapping[str, Callable[[Any], bool]]] = {
    "id": is_name,
    "task": is_name,
    "lang": _is_short,
    "group": _is_short,
    "group_index": _is_int,
    "retries": _is_count,
    "root_id": _is_short,
    "parent_id": _is_short,
    "argsrepr": _is_repr,
    "kwargsrepr": _is_repr,
    "origin": _is_short,
    "ignore_result": _is_bool,
    "replaced_task_nesting": _is_count,
    "stamped_headers": _are_texts,
    "stamps": _is_object,
    "redelivered": _is_bool,
    # Never. A message that waits for its time is in a worker's memory till then, and on nobody's
    # account; a request has a deadline of its own. Flower shows a request by its task's name.
    "eta": lambda _: False,
    "expires": lambda _: False,
    "timelimit": _are_no_limits,
    "shadow": lambda _: False,
    # Never: what inflates to gigabytes fits any limit of size.
    "compression": lambda _: False,
}
_PROPERTIES: Final[Mapping[str, Callable[[Any], bool]]] = {
    "correlation_id": _is_short,
    "reply_to": _is_short,
    "priority": _is_int,
    "delivery_mode": _is_int,
}
_TAKEN: Final = frozenset(dir(Context)) - _HEADERS.keys()
