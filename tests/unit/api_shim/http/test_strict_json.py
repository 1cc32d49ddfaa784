"""Strict JSON: one meaning or a refusal, and a short cut that never means anything else."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from api_shim.http import body
from api_shim.http.body import NotJson, loads, read_value

SCALARS = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    SCALARS | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=30,
)
TOKENS = [*'{}[]:,"\\ 0123456789.eE-+ntfau', "true", "null", "NaN", '"a"', '"a:b"', "\\u0061"]


def _outcome(parse: Any, text: bytes) -> Any:
    try:
        return repr(parse(text))
    except NotJson as error:
        return error.reason


@given(VALUES)
def test_every_json_value_reads_back(value: Any) -> None:
    assert repr(loads(json.dumps(value).encode())) == repr(value)


@given(st.lists(st.sampled_from(TOKENS)))
@example(['{"a":1,"', "\\u0061", '":2}'])
@example(['{"a":', "18446744073709551616", "}"])
def test_short_cut_never_differs_from_the_parser(parts: list[str]) -> None:
    text = "".join(parts).encode()
    assert _outcome(loads, text) == _outcome(body._parse, text)


@given(st.binary(max_size=40))
def test_any_bytes_are_read_or_refused(text: bytes) -> None:
    _outcome(loads, text)


@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_depth_ends_at_32(opening: bytes, closing: bytes) -> None:
    loads(opening * 32 + b"1" + closing * 32)
    with pytest.raises(NotJson, match="nested too deeply"):
        loads(opening * 33 + b"1" + closing * 33)


@pytest.mark.parametrize(("length", "fits"), [(64 * 1024, True), (64 * 1024 + 1, False)])
def test_string_length_is_bounded(length: int, fits: bool) -> None:
    for text in (b'{"a":"%s"}', b'{"%s":1}', b'["%s"]'):
        assert (_outcome(loads, text % (b"x" * length)) != "a string is too long") is fits


@pytest.mark.bad_input(115, "keys made to collide", "at most 1,000 in one object; Python's hashes are keyed")
def test_keys_of_one_object_are_bounded() -> None:
    with pytest.raises(NotJson, match="too many keys"):
        loads(orjson.dumps({str(n): n for n in range(1001)}))


@pytest.mark.parametrize("text", ['{"a":"\\ud800"}', '{"\\udc00":1}', '["\\ud800\\ud800"]'])
def test_half_a_surrogate_pair_is_refused_in_a_stream_as_in_a_body(text: str) -> None:
    for read in (lambda: loads(text.encode()), lambda: read_value(text, 0)):
        with pytest.raises(NotJson, match="half a surrogate pair"):
            read()
