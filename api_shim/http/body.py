"""From a request's bytes to a JSON object, within every limit, before any model looks at it.

JSON is what RFC 8259 writes, and nothing a lenient parser adds: one meaning for a text, or a refusal. Every parser at
hand is lenient somewhere: the standard library takes ``NaN`` and the last of two equal keys, orjson makes a float of
2**64, and none of them bounds the depth at 32. So the standard library parses with hooks, and orjson only serves as a
short cut (half the time) where what it made can be proved to mean the same.
"""

import asyncio
import json
import math
from collections.abc import Callable
from typing import Any, Final, NoReturn

import orjson
from starlette.requests import Request

from contract.codes import Code, Language, Refused, Why

MAX_BODY_BYTES: Final = 4 * 1024 * 1024
"""Eight times a full, indented request of 100 instances."""
MAX_SECONDS: Final = 10.0
"""From the end of the headers to the end of the body."""
GRACE_SECONDS: Final = 5.0
MIN_BYTES_PER_SECOND: Final = 1024
"""After the grace a sender must have been this fast on average."""


Body = tuple[bytes, dict[str, Any]]
"""A request's body: its bytes, and the JSON object they are."""


class MalformedBody(Refused):
    """The bytes are not what a body must be. `reason` is a fixed text; `offset` is in bytes, when known.

    `path` names the line where a body has lines.
    """

    def __init__(self, code: Code, reason: str, offset: int | None = None, *, path: str = "") -> None:
        super().__init__(code, path=path)
        self.reason = reason
        self.offset = offset

    def message(self, language: Language = "en") -> str:
        """The text to show. Compat callers have nothing else."""
        said = super().message(language)
        if self.reason in _SAID_BY_THE_CODE:
            return said
        return f"{said}: {self.reason}" if language == "en" else f"{said}：{_CHINESE.get(self.reason, self.reason)}"


_SAID_BY_THE_CODE: Final = ("empty", "not JSON")
_CHINESE: Final = {
    "not UTF-8": "不是 UTF-8",
    "not UTF-8 without a byte order mark": "不是不带 BOM 的 UTF-8",
    "not application/json in UTF-8": "Content-Type 不是 UTF-8 的 application/json",
    "a content coding is not taken": "不支持 Content-Encoding",
    "over 4 MiB": "超过 4 MiB",
    "too slow": "传输过慢",
    "ended early, or not in chunks as announced": "提前结束，或分块格式与声明不符",
    "a key appears twice in one object": "同一对象中有重复的键",
    "a number is not finite": "数值不是有限数",
    "a number has too many digits": "数值位数过多",
    "half a surrogate pair": "代理对不完整",
    "nested too deeply": "嵌套过深",
    "a string is too long": "字符串过长",
    "an object has too many keys": "对象的键过多",
}
"""Of a reason; one that is not here is said in English."""


class BodyBroken(MalformedBody):
    """The body ended before its end, because its sender left or its chunks are malformed: HTTP 400 on every path."""

    def __init__(self) -> None:
        super().__init__(Code.BODY_UNREADABLE, "ended early, or not in chunks as announced")


async def read_body(request: Request, *, type_may_be_missing: bool = False) -> Body:
    """The request's body as a JSON object.

    Args:
        request: The request, its body not yet read.
        type_may_be_missing: Take a body that has no ``Content-Type`` for JSON, as ESB does: its old SDK sends none.

    Raises:
        Refused: 1190014 another media type, charset, content coding, or a byte order mark; 1190013 over 4 MiB;
            1199004 too slow; 1199005 empty; 1199000 not strict JSON; 1199006 with the path ``$`` no object.
        BodyBroken: it ends early, or its chunks are none.
    """
    _check_headers(request, type_may_be_missing=type_may_be_missing)
    raw = await _read(request)
    return raw, parse_object(raw)


async def read_optional_body(request: Request) -> Body:
    """Like `read_body`, but no body at all is an empty object, whatever the ``Content-Type``."""
    raw = await _read(request)
    if not raw:
        return raw, {}
    _check_headers(request, type_may_be_missing=False)
    return raw, parse_object(raw)


def parse_object(body: bytes) -> dict[str, Any]:
    """The JSON object that `body` holds; raises as `read_body` does."""
    if not body.strip():
        raise MalformedBody(Code.BODY_EMPTY, "empty")
    # RFC 8259 8.1: UTF-8 without a byte order mark. UTF-16 and UTF-32 show by theirs, or by a NUL among the first two.
    if body.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")) or 0 in body[:2]:
        raise MalformedBody(Code.UNSUPPORTED_MEDIA_TYPE, "not UTF-8 without a byte order mark")
    try:
        value = loads(body)
    except NotJson as error:
        raise MalformedBody(Code.BODY_NOT_JSON, error.reason, error.offset) from None
    if not isinstance(value, dict):
        raise Refused.field(Code.PARAM_INVALID, "$", Why.NOT_AN_OBJECT)
    return value


def _check_headers(request: Request, *, type_may_be_missing: bool) -> None:
    headers = request.headers
    if headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise MalformedBody(Code.UNSUPPORTED_MEDIA_TYPE, "a content coding is not taken")
    content_type = headers.get("content-type")
    if not content_type and type_may_be_missing:
        return
    if not is_json(content_type or ""):
        raise MalformedBody(Code.UNSUPPORTED_MEDIA_TYPE, "not application/json in UTF-8")


def is_json(content_type: str) -> bool:
    """Whether a ``Content-Type`` is ``application/json``, in UTF-8 as far as it says."""
    media_type, *parameters = content_type.split(";")
    if media_type.strip().lower() != "application/json":
        return False
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset" and value.strip().strip('"').lower() not in ("utf-8", "utf8"):
            return False
    return True


async def _read(request: Request) -> bytes:
    declared = request.headers.get("content-length", "")
    if declared.isascii() and declared.isdigit() and int(declared[:20]) > MAX_BODY_BYTES:
        raise MalformedBody(Code.BODY_TOO_LARGE, "over 4 MiB")
    started = asyncio.get_running_loop().time()
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout_at(started + GRACE_SECONDS) as deadline:
            while True:
                message = await request.receive()
                if message["type"] == "http.disconnect":
                    raise BodyBroken
                chunk: bytes = message.get("body", b"")
                size += len(chunk)
                if size > MAX_BODY_BYTES:
                    raise MalformedBody(Code.BODY_TOO_LARGE, "over 4 MiB")
                chunks.append(chunk)
                if not message.get("more_body", False):
                    return b"".join(chunks)
                deadline.reschedule(started + min(MAX_SECONDS, GRACE_SECONDS + size / MIN_BYTES_PER_SECOND))
    except TimeoutError:
        raise MalformedBody(Code.BODY_UNREADABLE, "too slow") from None


MAX_DEPTH: Final = 32
MAX_STRING: Final = 64 * 1024
"""Characters of one string. The longest text CMDB stores has 2,000 bytes."""
MAX_KEYS: Final = 1_000
"""Keys of one object."""


class NotJson(Exception):
    """The bytes are no acceptable JSON. `reason` is one of a few fixed texts; `offset` is in bytes, when known."""

    def __init__(self, reason: str, offset: int | None = None) -> None:
        super().__init__(reason, offset)
        self.reason = reason
        self.offset = offset


def loads(body: bytes) -> Any:
    """Parse UTF-8 bytes.

    Raises:
        NotJson: not UTF-8, not JSON, a key twice in one object, half a surrogate pair, a number that is not finite or
            has thousands of digits, deeper than 32, a string over 64 Ki characters or over 1,000 keys in one object.
    """
    value = _short_cut(body)
    return _parse(body) if value is _UNSURE else value


def read_value(text: str, at: int) -> tuple[Any, int]:
    """The JSON value that begins at `at`, and where it ends. A longer text may have more of it.

    Raises:
        NotJson: as `loads`, or the value is not complete; its offset counts characters.
    """
    value, end = _decoded(lambda: _decoder.raw_decode(text, at), int)
    _measure(value)
    _check_pairs(value)
    return value, end


_UNSURE: Final = object()


def _short_cut(body: bytes) -> Any:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return _UNSURE
    keys, has_float = _measure(value)
    # A text has a colon for every key it writes. As many keys as colons: no key was written twice.
    return _UNSURE if has_float or keys != body.count(b":") else value


def _parse(body: bytes) -> Any:
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise NotJson("not UTF-8", error.start) from None
    value = _decoded(lambda: _decoder.decode(text), lambda place: len(text[:place].encode("utf-8", "replace")))
    _measure(value)
    _check_pairs(value)
    return value


def _decoded(decode: Callable[[], Any], offset: Callable[[int], int]) -> Any:
    """What `decode` makes of a text; an error tells the `offset` of the character at which it is no JSON."""
    try:
        return decode()
    except json.JSONDecodeError as error:
        raise NotJson("not JSON", offset(error.pos)) from None
    except RecursionError:
        raise NotJson("nested too deeply") from None
    except ValueError:
        raise NotJson("a number has too many digits") from None


def _check_pairs(value: Any) -> None:
    """Half a surrogate pair is no character (RFC 8259 8.2): not as a value, not as a key, not where it is ignored."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise NotJson("half a surrogate pair") from None


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise NotJson("a key appears twice in one object")
    return members


def _float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise NotJson("a number is not finite")
    return number


def _constant(_: str) -> NoReturn:
    raise NotJson("a number is not finite")


_decoder = json.JSONDecoder(object_pairs_hook=_pairs, parse_float=_float, parse_constant=_constant)


def _measure(value: Any) -> tuple[int, bool]:
    """Hold the limits; how many keys there are, and whether any number is a float."""
    keys, has_float = 0, False
    level: list[Any] = [[value]]  # the root in a list of its own, which is no level of the text
    for _ in range(MAX_DEPTH + 1):
        below: list[Any] = []
        for node in level:
            children = node
            if isinstance(node, dict):
                keys += _checked_keys(node)
                children = node.values()
            for child in children:
                kind = type(child)
                if kind is str:
                    if len(child) > MAX_STRING:
                        raise NotJson("a string is too long")
                elif kind is dict or kind is list:
                    below.append(child)
                elif kind is float:
                    has_float = True
        if not below:
            return keys, has_float
        level = below
    raise NotJson("nested too deeply")


def _checked_keys(members: dict[str, Any]) -> int:
    if len(members) > MAX_KEYS:
        raise NotJson("an object has too many keys")
    if members and max(map(len, members)) > MAX_STRING:
        raise NotJson("a string is too long")
    return len(members)
