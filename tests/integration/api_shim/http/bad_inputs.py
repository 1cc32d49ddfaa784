"""Bad input that is refused at the door, by number: what is sent, and the one right answer.

`docs/bad-input.md` is made from this table, among others (``python -m tests.bad_input_page``).
"""

import gzip
import json
from dataclasses import dataclass, field
from typing import Any

JSON = {"Content-Type": "application/json"}
AUTHORIZATION = "X-Bkapi-Authorization"


@dataclass(frozen=True)
class Case:
    """Sent to `POST /v1/batches` and to both compat paths. `paths` are the fields that v1 names, when it names any."""

    number: int
    name: str
    body: bytes
    status: int
    code: int
    paths: tuple[str, ...] | None = None
    headers: dict[str, str] = field(default_factory=lambda: JSON)
    query: str = ""
    accepted_on_compat: bool = False

    def __str__(self) -> str:
        return f"{self.number}-{self.name.replace(' ', '-')}"


def _set(path: str, value: Any, request: bytes | None = None) -> bytes:
    """A good request, or `request`, with one value replaced. `path` is like ``instances.0.bk_host_id``."""
    body: Any = (
        json.loads(request)
        if request
        else {
            "bk_biz_id": 1,
            "bk_module_id": 60,
            "instances": [
                {
                    "bk_host_id": 2,
                    "processes": [
                        {
                            "process_template_id": 1,
                            "process_info": {
                                "bk_process_name": "job_java",
                                "bk_func_name": "java",
                                "bind_info": [{"template_row_id": 1, "ip": "127.0.0.1", "port": "80", "protocol": "1"}],
                            },
                        }
                    ],
                }
            ],
        }
    )
    *parents, last = [int(key) if key.isdigit() else key for key in path.split(".")]
    node = body
    for key in parents:
        node = node[key]
    node[last] = value
    return json.dumps(body).encode()


def _text(number: str) -> bytes:
    """A good request whose business is the given JSON text."""
    return b'{"bk_biz_id":%s,"bk_module_id":60,"instances":[{"bk_host_id":2}]}' % number.encode()


GOOD = _text("1")
PROCESS = "instances.0.processes.0"
INFO = f"{PROCESS}.process_info"
BIND = f"{INFO}.bind_info.0"


def _named(path: str) -> str:
    return "".join(f"[{key}]" if key.isdigit() else f".{key}" for key in path.split(".")).lstrip(".")


def _at(number: int, name: str, path: str, value: Any, code: int) -> Case:
    return Case(number, name, _set(path, value), 400, code, (_named(path),))


def _typed(content_type: str | None, name: str, *, accepted_on_compat: bool = False) -> Case:
    headers = {} if content_type is None else {"Content-Type": content_type}
    return Case(20, name, GOOD, 415, 1190014, None, headers, accepted_on_compat=accepted_on_compat)


CASES = (
    Case(1, "empty body", b"", 400, 1199005),
    Case(1, "only white space", b" \r\n\t", 400, 1199005),
    Case(2, "open brace", b"{", 400, 1199000),
    Case(2, "trailing bytes", GOOD + b" x", 400, 1199000),
    Case(2, "two values", GOOD + GOOD, 400, 1199000),
    Case(2, "comment", b"/* */" + GOOD, 400, 1199000),
    Case(2, "single quotes", b"{'bk_biz_id':1}", 400, 1199000),
    Case(2, "trailing comma", b'{"bk_biz_id":1,}', 400, 1199000),
    Case(2, "control character in a string", b'{"bk_biz_id":"\n"}', 400, 1199000),
    *(Case(3, f"body {text}", text.encode(), 400, 1199006, ("$",)) for text in ("null", "[]", "5", '"x"', "true")),
    *(Case(4, text, _text(text), 400, 1199000) for text in ("NaN", "Infinity", "-Infinity")),
    Case(4, "NaN in an ignored field", GOOD[:-1] + b',"unknown":[NaN]}', 400, 1199000),
    Case(5, "1e400", _text("1e400"), 400, 1199000),
    Case(5, "-1e400 in an ignored field", GOOD[:-1] + b',"unknown":-1e400}', 400, 1199000),
    Case(6, "bk_biz_id twice", b'{"bk_biz_id":1,' + GOOD[1:], 400, 1199000),
    Case(6, "instances twice", GOOD[:-1] + b',"instances":[]}', 400, 1199000),
    Case(6, "a key twice, once escaped", GOOD[:-1] + b',"bk_biz_\\u0069d":2}', 400, 1199000),
    Case(6, "twice deep inside", GOOD[:-1] + b',"a":{"b":{"c":1,"c":1}}}', 400, 1199000),
    Case(8, "100000 deep arrays", b"[" * 100_000, 400, 1199000),
    Case(8, "100000 deep objects", b'{"a":' * 100_000, 400, 1199000),
    Case(8, "33 deep", b'{"a":' + b"[" * 32 + b"]" * 32 + b"}", 400, 1199000),
    Case(9, "5000 digits", _text("1" * 5000), 400, 1199000),
    Case(9, "300 digits", _text("1" * 300), 400, 1199009, ("bk_biz_id",)),
    *(
        Case(10, name, _text(text), 400, 1199009, ("bk_biz_id",))
        for name, text in (("2^63", str(2**63)), ("2^64", str(2**64)), ("below int64", str(-(2**63) - 1)))
    ),
    _at(11, "true as a module id", "bk_module_id", True, 1199009),
    _at(11, "true as a host id", "instances.0.bk_host_id", True, 1199009),
    _at(11, "true as a process template id", f"{PROCESS}.process_template_id", True, 1199009),
    _at(11, "true as a row id", f"{BIND}.template_row_id", True, 1199009),
    Case(
        115,
        "1001 keys in one object",
        GOOD[:-1] + b"," + b",".join(b'"k%d":1' % n for n in range(999)) + b"}",
        400,
        1199000,
    ),
    *(Case(12, text, _text(text), 400, 1199009, ("bk_biz_id",)) for text in ("1.0", "1e2", "1.5")),
    _at(13, "text as an int", "bk_biz_id", "1", 1199009),
    _at(13, "text as a timeout", f"{INFO}.timeout", "30", 1199009),
    *(_at(14, f"{value!r} as a bool", f"{INFO}.auto_start", value, 1199025) for value in ("yes", 1, "true", 0)),
    _at(14, "1 as enable", f"{BIND}.enable", 1, 1199025),
    Case(15, "minus zero", _text("-0"), 400, 1199006, ("bk_biz_id",)),
    Case(15, "zero", _text("0"), 400, 1199006, ("bk_biz_id",)),
    _at(15, "negative module", "bk_module_id", -60, 1199006),
    _at(15, "host 0", "instances.0.bk_host_id", 0, 1199006),
    _at(15, "negative process template", f"{PROCESS}.process_template_id", -1, 1199006),
    _at(16, "NUL in a command", f"{INFO}.start_cmd", "a\0b", 1199006),
    _at(16, "NUL in an ip", f"{BIND}.ip", "127.0.0.1\0", 1199006),
    *(
        _at(16, f"{name} in {of}", path, f"a{character}b", 1199006)
        for name, character in (
            ("ESC", "\x1b[31m"),
            ("a line break", "\n"),
            ("DEL", "\x7f"),
            ("CSI", "\x9b"),
            ("a line separator", "\u2028"),
            ("a right-to-left override", "\u202e"),
        )
        for of, path in (
            ("an instance's name", "instances.0.service_instance_name"),
            ("a process's name", f"{INFO}.bk_process_name"),
            ("a function's name", f"{INFO}.bk_func_name"),
        )
    ),
    _at(16, "NUL in a name", "instances.0.service_instance_name", "\0", 1199006),
    Case(17, "lone surrogate", _set(f"{INFO}.description", "\ud800"), 400, 1199000),
    Case(17, "lone surrogate as the user", _set("bk_username", "\ud800"), 400, 1199000),
    Case(17, "lone surrogate in a key", GOOD[:-1] + b',"\\udc00":1}', 400, 1199000),
    Case(17, "lone surrogate in an ignored field", GOOD[:-1] + b',"x":["\\ud800\\ud800"]}', 400, 1199000),
    Case(
        17,
        "lone surrogate in the header",
        GOOD,
        400,
        1306406,
        None,
        JSON | {AUTHORIZATION: '{"bk_username":"\\ud800"}'},
    ),
    Case(18, "invalid UTF-8", GOOD[:-1] + b',"a":"\xff"}', 400, 1199000),
    Case(18, "Latin-1", '{"a":"é"}'.encode("latin-1"), 400, 1199000),
    Case(18, "overlong UTF-8", b'{"a":"\xc0\xaf"}', 400, 1199000),
    Case(18, "surrogate in UTF-8", b'{"a":"\xed\xa0\x80"}', 400, 1199000),
    *(
        Case(19, encoding, GOOD.decode().encode(encoding), 415, 1190014)
        for encoding in ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be", "utf-8-sig")
    ),
    _typed("text/plain", "text plain"),
    _typed(None, "no content type", accepted_on_compat=True),
    _typed("multipart/form-data; boundary=x", "multipart"),
    _typed("application/x-www-form-urlencoded", "form"),
    _typed("application/json; charset=gbk", "gbk"),
    _typed("application/jsonp", "application jsonp"),
    _typed("application/json, text/plain", "two types"),
    Case(21, "gzip", gzip.compress(GOOD), 415, 1190014, None, JSON | {"Content-Encoding": "gzip"}),
    Case(21, "br", GOOD, 415, 1190014, None, JSON | {"Content-Encoding": "br"}),
    Case(21, "bomb", gzip.compress(b" " * 10_000_000), 415, 1190014, None, JSON | {"Content-Encoding": "gzip"}),
    Case(22, "over 4 MiB", b" " * (4 * 1024 * 1024) + GOOD, 413, 1190013),
    Case(28, "200000 invalid items", _set("instances", [0] * 200_000), 400, 1199035, ("instances",)),
    Case(29, "3.9 MB in a command", _set(f"{INFO}.start_cmd", "a" * 3_900_000), 400, 1199000),
    Case(29, "3.9 MB as a key", b'{"%s":1}' % (b"a" * 3_900_000), 400, 1199000),
    Case(31, "no instance", _set("instances", []), 400, 1199010, ("instances",)),
    Case(31, "instances absent", b'{"bk_biz_id":1,"bk_module_id":60}', 400, 1199010, ("instances",)),
    Case(31, "instances null", _set("instances", None), 400, 1199010, ("instances",)),
    Case(32, "101 instances", _set("instances", [{"bk_host_id": n + 1} for n in range(101)]), 400, 1199035),
    *(
        Case(34, f"instances {value!r}", _set("instances", value), 400, 1199006, ("instances",))
        for value in ({}, "x", 5)
    ),
    _at(34, "instance is text", "instances.0", "x", 1199006),
    _at(34, "processes an object", "instances.0.processes", {}, 1199006),
    _at(34, "process info a list", INFO, [], 1199006),
    _at(34, "bind info a text", f"{INFO}.bind_info", "80", 1199006),
    _at(56, "port as a number", f"{BIND}.port", 80, 1199007),
    Case(64, "unknown field, strict", GOOD[:-1] + b',"x":1}', 400, 1199006, ("x",), query="?strict=1"),
    Case(64, "strict twice", GOOD, 400, 1199006, ("query.strict",), query="?strict=1&strict=0"),
    Case(64, "strict is neither", GOOD, 400, 1199006, ("query.strict",), query="?strict=maybe"),
    _at(66, "long name", "instances.0.service_instance_name", "ä" * 129, 1199006),
    *(
        Case(81, f"idempotency key {name}", GOOD, 400, 1199006, ("Idempotency-Key",), JSON | {"Idempotency-Key": key})
        for name, key in (("too long", "k" * 256), ("with a blank", "a b"), ("empty", ""), ("with a tab", "a\tb"))
    ),
    *(
        Case(81, f"client request id {name}", _set("client_request_id", key), 400, code, ("client_request_id",))
        for name, key, code in (
            ("too long", "k" * 256, 1199006),
            ("with a blank", "a b", 1199006),
            ("not ASCII", "ключ", 1199006),
            ("empty", "", 1199006),
            ("a number", 5, 1199007),
        )
    ),
    Case(87, "secret in the query", GOOD, 401, 1306401, ("query.bk_app_secret",), query="?bk_app_secret=s"),
    Case(87, "token in the query", GOOD, 401, 1306401, ("query.bk_token",), query="?BK_TOKEN=s"),
    Case(87, "app code in the query", GOOD, 401, 1306401, ("query.bk_app_code",), query="?bk_app_code=a"),
    Case(85, "authorization not JSON", GOOD, 400, 1306406, None, JSON | {AUTHORIZATION: "Bearer x"}),
    Case(85, "authorization a list", GOOD, 400, 1306406, None, JSON | {AUTHORIZATION: "[]"}),
    Case(85, "authorization with a key twice", GOOD, 400, 1306406, None, JSON | {AUTHORIZATION: '{"a":1,"a":2}'}),
    Case(85, "user under two spellings", _set("username", "b", _set("bk_username", "a")), 401, 1306401, ("username",)),
    Case(85, "authorization deep", GOOD, 400, 1306406, None, JSON | {AUTHORIZATION: "[" * 5000}),
    Case(85, "app code a number", _set("bk_app_code", 5), 400, 1199007, ("bk_app_code",)),
    Case(85, "username with a line break", _set("bk_username", "a\nb"), 400, 1199006, ("bk_username",)),
)
