"""A job's body that comes in pieces: what it costs does not hang on how it is cut."""

import asyncio
import json
import sys
import tracemalloc
from collections.abc import Iterable
from types import FrameType
from typing import Any

import pytest
from starlette.requests import Request
from starlette.types import Message

from api_shim.http.body import MalformedBody, read_value
from api_shim.http.stream import NDJSON, open_job_body

HEAD = {"bk_biz_id": 1, "bk_module_id": 60}
SMALL = {"bk_host_id": 7, "note": "é" * 1_000}
LARGE = {"bk_host_id": 8, "note": ["y" * 60_000] * 8}
ROWS = [SMALL] * 2_200 + [LARGE, SMALL]


def _read(pieces: Iterable[bytes], content_type: str) -> list[Any]:
    messages = iter(pieces)

    async def receive() -> Message:
        piece = next(messages, None)
        return {"type": "http.request", "body": piece or b"", "more_body": piece is not None}

    async def read() -> list[Any]:
        request = Request({"type": "http", "headers": [(b"content-type", content_type.encode())]}, receive)
        body = await open_job_body(request, 2**30, lambda: False)
        return [instance async for instance, _ in body.instances]

    return asyncio.run(read())


def _cut(body: bytes, size: int) -> Iterable[bytes]:
    return (body[start : start + size] for start in range(0, len(body), size))


def _json() -> bytes:
    text = json.dumps({**HEAD, "instances": ROWS}, ensure_ascii=False).encode()
    assert len(text) > 4 * 1024 * 1024
    return text


@pytest.mark.parametrize("size", [997, 65_521, 10_000_000])
def test_lines_are_the_same_however_they_are_cut(size: int) -> None:
    lines = b"\r\n".join(json.dumps(row).encode() for row in (HEAD, *ROWS))
    assert _read(_cut(lines, size), NDJSON) == ROWS


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_line_that_is_no_json_is_named_by_its_number(size: int) -> None:
    body = b'{"bk_biz_id": 1}\n\n{"bk_host_id": 2}\r\n{"bk_host_id": 3,}\n'
    with pytest.raises(MalformedBody) as refused:
        _read(_cut(body, size), NDJSON)
    assert (refused.value.path, refused.value.offset) == ("line 4", body.index(b"}", -3))
    assert refused.value.message().endswith(" (line 4)")


@pytest.mark.parametrize("size", [997, 65_521, 10_000_000])
def test_long_json_is_the_same_however_it_is_cut(size: int) -> None:
    assert _read(_cut(_json(), size), "application/json") == ROWS


def test_instance_that_comes_bit_by_bit_is_parsed_a_few_times() -> None:
    """Once for each small chunk, one sender could keep a server from everything else."""
    tries = 0

    def count(frame: FrameType, event: str, _: object) -> None:
        nonlocal tries
        tries += event == "call" and frame.f_code is read_value.__code__

    body = _json()
    whole = len(body) - 700_000  # a hundred small ones, and the large one
    sys.setprofile(count)
    try:
        assert len(_read([body[:whole], *_cut(body[whole:], 100)], "application/json")) == len(ROWS)
    finally:
        sys.setprofile(None)
    assert tries < len(ROWS) + 500  # of the 7,000 chunks


def test_blanks_after_the_end_are_not_kept() -> None:
    def pieces() -> Iterable[bytes]:
        yield _json()
        yield from [b" " * 65_536] * 2_000

    tracemalloc.start()
    try:
        assert len(_read(pieces(), "application/json")) == len(ROWS)
        assert tracemalloc.get_traced_memory()[1] < 60_000_000
    finally:
        tracemalloc.stop()
