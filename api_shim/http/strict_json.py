"""JSON as RFC 8259 writes it, and nothing a lenient parser adds: one meaning for a text, or a refusal.

Every parser at hand is lenient somewhere: the standard library takes ``NaN`` and the last of two equal keys, orjson
makes a float of 2**64, and none of them bounds the depth at 32. So the standard library parses with hooks, and orjson
only serves as a short cut (half the time) where what it made can be proved to mean the same.
"""

import json
import math
from typing import Any, Final, NoReturn

import orjson

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
    try:
        value, end = _decoder.raw_decode(text, at)
    except json.JSONDecodeError as error:
        raise NotJson("not JSON", error.pos) from None
    except RecursionError:
        raise NotJson("nested too deeply") from None
    except ValueError:
        raise NotJson("a number has too many digits") from None
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
    try:
        value = _decoder.decode(text)
    except json.JSONDecodeError as error:
        raise NotJson("not JSON", len(text[: error.pos].encode("utf-8", "replace"))) from None
    except RecursionError:
        raise NotJson("nested too deeply") from None
    except ValueError:
        raise NotJson("a number has too many digits") from None
    _measure(value)
    _check_pairs(value)
    return value


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
