"""A job's body, read as it arrives: its head, then one instance after the other. Never more than one of them is kept.

However it is cut into chunks, each byte is looked at a few times at most: its sender may be slow, or mean.

The sender is held back by not being read: nothing is taken from the connection until who reads wants the next instance.
"""

import asyncio
import codecs
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Final

from starlette.requests import Request

from api_shim.http.body import (
    MAX_BODY_BYTES,
    BodyBroken,
    MalformedBody,
    NotJson,
    is_json,
    loads,
    parse_object,
    read_value,
)
from contract.codes import Code, Refused

NDJSON: Final = "application/x-ndjson"
SILENT_S: Final = 30.0
"""A sender who is being read and sends nothing for this long has gone."""
MAX_HEAD_BYTES: Final = 64 * 1024
MAX_INSTANCE_BYTES: Final = 4 * 1024 * 1024
_BLANK: Final = re.compile(r"[ \t\r\n]*")
_INSTANCES: Final = "instances"


@dataclass(frozen=True, slots=True)
class JobBody:
    """`head` is all but the instances, which come with their sizes in the body; 0 where the whole is small.

    `whole` is the body of a small JSON job, of which all is checked first.
    """

    head: dict[str, Any]
    instances: AsyncIterator[tuple[Any, int]]
    whole: bytes | None = None


async def open_job_body(request: Request, most: int, is_draining: Callable[[], bool]) -> JobBody:
    """Read the head of a job.

    Args:
        request: The request, its body not yet read.
        most: Bytes of the whole body.
        is_draining: Whether the server is about to end.

    Raises:
        Refused: 1190014 neither JSON nor NDJSON, or compressed; 1190013 too large; 1199004 silent for too long;
            1199000 not strict JSON; 1199005 empty. What is read later raises the same.
        BodyBroken: it ends early, or its chunks are none.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise MalformedBody(Code.UNSUPPORTED_MEDIA_TYPE, "a content coding is not taken")
    chunks = _chunks(request, most, is_draining)
    if media_type == NDJSON:
        return await _open_ndjson(chunks)
    if not is_json(request.headers.get("content-type", "")):
        raise MalformedBody(Code.UNSUPPORTED_MEDIA_TYPE, f"neither {NDJSON} nor application/json in UTF-8")
    return await _open_json(chunks)


async def _chunks(request: Request, most: int, is_draining: Callable[[], bool]) -> AsyncIterator[bytes]:
    size, more = 0, True
    while more:
        try:
            async with asyncio.timeout(SILENT_S):
                message = await request.receive()
        except TimeoutError:
            raise MalformedBody(Code.BODY_UNREADABLE, "too slow") from None
        if message["type"] == "http.disconnect":
            raise BodyBroken
        if is_draining():
            raise Refused(Code.BROKER_UNAVAILABLE)
        chunk: bytes = message.get("body", b"")
        more = message.get("more_body", False)
        size += len(chunk)
        if size > most:
            raise MalformedBody(Code.BODY_TOO_LARGE, f"over {most} bytes")
        yield chunk


async def _open_ndjson(chunks: AsyncIterator[bytes]) -> JobBody:
    lines = _lines(chunks)
    first = await anext(lines, None)
    if first is None:
        raise MalformedBody(Code.BODY_EMPTY, "empty")
    if len(first[0]) > MAX_HEAD_BYTES:
        raise MalformedBody(Code.BODY_TOO_LARGE, f"a first line over {MAX_HEAD_BYTES} bytes")
    head = parse_object(first[0])
    if _INSTANCES in head:
        raise Refused.field(Code.PARAM_INVALID, _INSTANCES)
    return JobBody(head, _decoded(lines))


async def _decoded(lines: AsyncIterator[tuple[bytes, int, int]]) -> AsyncIterator[tuple[Any, int]]:
    async for line, number, offset in lines:
        try:
            yield loads(line), len(line)
        except NotJson as error:
            place, path = offset + (error.offset or 0), f"line {number}"
            raise MalformedBody(Code.BODY_NOT_JSON, error.reason, place, path=path) from None


async def _lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[tuple[bytes, int, int]]:
    """Lines that are not blank, each with its number, from 1, and its place in the body."""
    rest, number, offset = bytearray(), 1, 0
    async for chunk in chunks:
        rest += chunk
        if b"\n" in chunk:
            *whole, rest = rest.split(b"\n")
            for line in whole:
                if line.strip():
                    yield bytes(line), number, offset
                number, offset = number + 1, offset + len(line) + 1
        if len(rest) > MAX_INSTANCE_BYTES:
            raise MalformedBody(Code.BODY_TOO_LARGE, f"a line over {MAX_INSTANCE_BYTES} bytes")
    if rest.strip():
        yield bytes(rest), number, offset


async def _open_json(chunks: AsyncIterator[bytes]) -> JobBody:
    """A body of up to 4 MiB is read whole; of a longer one the head must stand before the instances."""
    begun = bytearray()
    async for chunk in chunks:
        begun += chunk
        if len(begun) > MAX_BODY_BYTES:
            text = _Text(bytes(begun), chunks)
            head = await text.read_head()
            return JobBody(head, text.elements())
    whole = bytes(begun)
    content = parse_object(whole)
    instances = content.get(_INSTANCES)
    if not isinstance(instances, list) or not instances:
        return JobBody(content, _each([]), whole)
    return JobBody({name: value for name, value in content.items() if name != _INSTANCES}, _each(instances), whole)


async def _each(values: list[Any]) -> AsyncIterator[tuple[Any, int]]:
    for value in values:
        yield value, 0


class _Text:
    """A JSON object that is read from front to back: some members, and then the array of its instances."""

    def __init__(self, begun: bytes, chunks: AsyncIterator[bytes]) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._chunks = chunks
        self._gone = 0
        self._at = 0
        self._text = self._decode(begun)

    async def read_head(self) -> dict[str, Any]:
        """The members before ``instances``, whose array is open then."""
        head: dict[str, Any] = {}
        await self._take("{")
        while (key := await self._value()) != _INSTANCES:
            if not isinstance(key, str) or key in head:
                raise self._malformed("a key appears twice in one object" if key in head else "not JSON")
            await self._take(":")
            head[key] = await self._value()
            if self._place > MAX_BODY_BYTES:
                raise MalformedBody(Code.BODY_TOO_LARGE, "more than 4 MiB before the instances")
            await self._take(",")
        await self._take(":")
        await self._take("[")
        return head

    async def elements(self) -> AsyncIterator[tuple[Any, int]]:
        """The instances, and then the object's end."""
        closing = await self._peek() == "]"
        while not closing:
            yield await self._sized()
            closing = await self._take(",]") == "]"
        if await self._take("},]") != "}":
            # It would belong to the head, and batches were accepted without it.
            raise MalformedBody(Code.BODY_NOT_JSON, "in a job over 4 MiB nothing may follow on instances", self._place)
        if await self._peek():
            raise self._malformed("not JSON")

    @property
    def _place(self) -> int:
        return self._gone + self._at

    async def _value(self) -> Any:
        return (await self._sized())[0]

    async def _sized(self) -> tuple[Any, int]:
        """The next value, and its length in bytes."""
        await self._peek()
        while True:
            held = len(self._text) - self._at
            try:
                value, end = read_value(self._text, self._at)
            except NotJson as error:
                # Tried again when there is twice as much: after each small chunk would take for ever.
                if held <= MAX_INSTANCE_BYTES and await self._grow(held):
                    continue
                raise self._malformed(error.reason) from None
            # A number that ends with the text may go on in the next chunk.
            if end < len(self._text) or self._text[end - 1] in '}]"' or not await self._grow(held):
                read, self._at = self._text[self._at : end], end
                return value, len(read.encode())

    async def _take(self, wanted: str) -> str:
        found = await self._peek()
        if not found or found not in wanted:
            raise self._malformed("not JSON")
        self._at += 1
        return found

    async def _peek(self) -> str:
        """The next character that is not blank; empty at the end."""
        while True:
            match = _BLANK.match(self._text, self._at)
            self._at = match.end() if match else self._at
            if self._at < len(self._text):
                return self._text[self._at]
            if not await self._grow():
                return ""

    async def _grow(self, by: int = 1) -> bool:
        """Read on until `by` more characters are there, or the end; whether any are."""
        pieces, more = [self._text[self._at :]], 0
        while more < by and (chunk := await anext(self._chunks, None)) is not None:
            pieces.append(self._decode(chunk))
            more += len(pieces[-1])
        if more < by:
            self._decode(b"", is_last=True)
        self._gone += self._at
        self._text, self._at = "".join(pieces), 0
        return more > 0

    def _decode(self, chunk: bytes, *, is_last: bool = False) -> str:
        try:
            return self._decoder.decode(chunk, is_last)
        except UnicodeDecodeError:
            raise MalformedBody(Code.BODY_NOT_JSON, "not UTF-8") from None

    def _malformed(self, reason: str) -> MalformedBody:
        return MalformedBody(Code.BODY_NOT_JSON, reason, self._place)
