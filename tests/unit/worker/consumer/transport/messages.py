"""A good message of the wire format, and the many shapes that are none."""

import base64
import json
from collections.abc import Callable
from typing import Any

Wire = dict[str, Any]


def wire(task: str = "mark.v1", args: list[Any] | None = None, task_id: str = "8d1a6f0e") -> Wire:
    """What a stock sender pushes for ``task.apply_async(args)``, decoded."""
    return {
        "body": body([args or [], {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}]),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {
            "lang": "py",
            "task": task,
            "id": task_id,
            "shadow": None,
            "eta": None,
            "expires": None,
            "group": None,
            "group_index": None,
            "retries": 0,
            "timelimit": [None, None],
            "root_id": task_id,
            "parent_id": None,
            "argsrepr": "()",
            "kwargsrepr": "{}",
            "origin": "gen1@host",
            "ignore_result": True,
            "replaced_task_nesting": 0,
            "stamped_headers": None,
            "stamps": {},
        },
        "properties": {
            "correlation_id": task_id,
            "reply_to": "",
            "delivery_mode": 2,
            "delivery_info": {"exchange": "", "routing_key": "work"},
            "priority": 0,
            "body_encoding": "base64",
            "delivery_tag": "0a9c",
        },
    }


def body(content: Any) -> str:
    return base64.b64encode(content if isinstance(content, bytes) else json.dumps(content).encode()).decode()


def raw(message: Any) -> bytes:
    return message if isinstance(message, bytes) else json.dumps(message).encode()


def _changed(change: Callable[[Wire], Any]) -> bytes:
    message = wire()
    change(message)
    return raw(message)


def _header(name: str, value: Any) -> bytes:
    return _changed(lambda message: message["headers"].update({name: value}))


def _without_header(name: str) -> bytes:
    return _changed(lambda message: message["headers"].pop(name))


def _property(name: str, value: Any) -> bytes:
    return _changed(lambda message: message["properties"].update({name: value}))


def _top(name: str, value: Any) -> bytes:
    return _changed(lambda message: message.update({name: value}))


def _body(content: Any) -> bytes:
    return _top("body", body(content))


_EMBED = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
_SIGNATURE = {"task": "celery.map", "args": [], "kwargs": {}, "options": {}}

UNFIT: dict[str, bytes] = {
    "empty": b"",
    "raw bytes": b"\x80\x04\x95\x00\xff",
    "not JSON": b"{",
    "trailing bytes": raw(wire()) + b"x",
    "UTF-16": raw(wire()).decode().encode("utf-16"),
    "null": b"null",
    "number": b"5",
    "text": b'"x"',
    "list": b"[]",
    "empty object": b"{}",
    "deep": b"[" * 100_000,
    "no headers": _changed(lambda message: message.pop("headers")),
    "headers a list": _top("headers", []),
    "headers null": _top("headers", None),
    "no id": _without_header("id"),
    "id null": _header("id", None),
    "id a number": _header("id", 5),
    "id empty": _header("id", ""),
    "id with a line break": _header("id", "a\nb"),
    "id too long": _header("id", "a" * 300),
    "no task": _without_header("task"),
    "task a list": _header("task", ["mark.v1"]),
    "task unknown": _header("task", "os.system"),
    "task built in": _header("task", "celery.map"),
    "task older": _header("task", "mark.v0"),
    "timelimit a number": _header("timelimit", 5),
    "timelimit of one": _header("timelimit", [1]),
    "timelimit of texts": _header("timelimit", ["1", "2"]),
    "timelimit an object": _header("timelimit", {"a": 1, "b": 2}),
    "timelimit given": _header("timelimit", [5, None]),
    "eta": _header("eta", "2036-01-01T00:00:00+00:00"),
    "eta no time": _header("eta", "tomorrow"),
    "expires": _header("expires", "2036-01-01T00:00:00+00:00"),
    "expires an object": _header("expires", {}),
    "retries a text": _header("retries", "many"),
    "retries negative": _header("retries", -1),
    "group a list": _header("group", [1]),
    "shadow": _header("shadow", "another.name"),
    "argsrepr an object": _header("argsrepr", {}),
    "argsrepr of 5000 characters": _header("argsrepr", "a" * 5_000),
    "kwargsrepr of 5000 characters": _header("kwargsrepr", "a" * 5_000),
    "origin of 300 characters": _header("origin", "a" * 300),
    "stamps a list": _header("stamps", [1]),
    "stamped headers of lists": _header("stamped_headers", [[1]]),
    "compressed": _header("compression", "zlib"),
    "callbacks as a header": _header("callbacks", [_SIGNATURE]),
    "chord as a header": _header("chord", _SIGNATURE),
    "a method's name as a header": _header("update", 5),
    "no content type": _changed(lambda message: message.pop("content-type")),
    "pickle": _top("content-type", "application/x-python-serialize"),
    "yaml": _top("content-type", "application/x-yaml"),
    "msgpack": _top("content-type", "application/x-msgpack"),
    "unknown content type": _top("content-type", "application/x-bomb"),
    "content type a list": _top("content-type", []),
    "binary encoding": _top("content-encoding", "binary"),
    "encoding an object": _top("content-encoding", {}),
    "no properties": _changed(lambda message: message.pop("properties")),
    "properties a list": _top("properties", [1]),
    "no body encoding": _changed(lambda message: message["properties"].pop("body_encoding")),
    "body encoding unknown": _property("body_encoding", "rot13"),
    "no delivery info": _changed(lambda message: message["properties"].pop("delivery_info")),
    "delivery info a text": _property("delivery_info", "work"),
    "routing key missing": _property("delivery_info", {"exchange": ""}),
    "routing key a list": _property("delivery_info", {"exchange": "", "routing_key": []}),
    "reply to a list": _property("reply_to", ["x"]),
    "priority a text": _property("priority", "high"),
    "no body": _changed(lambda message: message.pop("body")),
    "body null": _top("body", None),
    "body an object": _top("body", {"task": "mark.v1"}),
    "body not base64": _top("body", "***"),
    "body half base64": _top("body", "W10*"),
    "body not JSON": _body(b"\xff\xfe"),
    "body of protocol 1": _body({"task": "mark.v1", "id": "x", "args": [], "kwargs": {}}),
    "body empty": _body([]),
    "embed missing": _body([[], {}]),
    "body of four": _body([[], {}, _EMBED, 1]),
    "args an object": _body([{}, {}, _EMBED]),
    "kwargs a list": _body([[], [], _EMBED]),
    "kwargs null": _body([[], None, _EMBED]),
    "embed a list": _body([[], {}, [1]]),
    "embed of other names": _body([[], {}, {**_EMBED, "args": [1]}]),
    "callbacks": _body([[], {}, {**_EMBED, "callbacks": [_SIGNATURE]}]),
    "errbacks": _body([[], {}, {**_EMBED, "errbacks": [_SIGNATURE]}]),
    "chain": _body([[], {}, {**_EMBED, "chain": [_SIGNATURE]}]),
    "chord": _body([[], {}, {**_EMBED, "chord": _SIGNATURE}]),
    "unknown kombu type": _body([[], {"a": {"__type__": "os.system", "__value__": 1}}, _EMBED]),
    "kombu type of the wrong value": _body([[], {"a": {"__type__": "uuid", "__value__": 1}}, _EMBED]),
    "too large": raw(wire(args=["x" * 2_100_000])),
}

NEWER = _header("task", "mark.v2")
