"""What is sent, and how an answer is read. No I/O."""

import itertools
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote

import httpx2

from bksi_client.errors import RequestRefused
from bksi_client.types import Batch, Instance

ESB_PATH: Final = "/api/c/compapi/v2/cc/create_service_instance/"
BATCHES: Final = "/v1/batches"
JOBS: Final = "/v1/jobs"
MAX_INSTANCES: Final = 100
"""In one request; the server refuses more (1199035)."""
LONGEST_POLL_S: Final = 20
Filters = Mapping[str, str | int | None]
"""Of a list, by the name of the parameter; None does not narrow it down."""
_INDEX: Final = re.compile(r"\binstances\[(\d+)\]")


@dataclass(frozen=True, slots=True)
class Call:
    """One HTTP request, as often as it is repeated."""

    method: str
    path: str
    json: object = None
    params: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str | bytes] = field(default_factory=dict)
    """Text is ASCII; what may be anything goes as bytes, for the server to say what is wrong with it."""
    key: str | None = None
    """The idempotency key, which every error carries."""
    lines: Iterable[bytes] | None = None
    """The body in place of `json`, sent as it is made. What cannot be made twice is sent once."""

    @property
    def is_repeatable(self) -> bool:
        """Whether it can be sent again."""
        return self.lines is None or isinstance(self.lines, _Lines)


def path_of(folder: str, id_: str) -> str:
    """Where something is. An id is no path, whatever is in it: its caller may have it from elsewhere."""
    return f"{folder}/{quote(id_, safe='')}"


def submission(batch: Batch, key: str) -> Call:
    """Enqueue `batch`."""
    return Call("POST", BATCHES, _listed(batch), headers={"Idempotency-Key": key.encode()}, key=key)


def job_submission(batch: Batch, key: str) -> Call:
    """Enqueue `batch` under one id: a line without the instances, then an instance a line."""
    head, instances = {name: value for name, value in batch.items() if name != "instances"}, _instances(batch)
    lines = _Lines(head, instances)
    headers = {"Idempotency-Key": key.encode(), "Content-Type": b"application/x-ndjson"}
    once = iter(lines) if isinstance(instances, Iterator) else lines
    return Call("POST", JOBS, headers=headers, key=key, lines=once)


def validation(batch: Batch) -> Call:
    """Only look."""
    return Call("POST", f"{BATCHES}:validate", _listed(batch))


def old_call(payload: Mapping[str, object]) -> Call:
    """ESB's. It needs no key: while it is unfinished, the same body again is the same request."""
    return Call("POST", ESB_PATH, dict(payload))


def poll(path: str, wait_s: float = 0) -> Call:
    """What is under `path`, at its end or after `wait_s` seconds, of which a server grants 20 at most."""
    wait = int(min(wait_s, LONGEST_POLL_S))
    return Call("GET", path, headers={"Prefer": f"wait={wait}"} if wait else {})


def page(path: str, filters: Filters, cursor: str | None = None) -> Call:
    """One page of a list."""
    given = {name: str(value) for name, value in filters.items() if value is not None}
    return Call("GET", path, params=given | ({"cursor": cursor} if cursor else {}))


def parts(batch: Batch) -> Iterator[tuple[int, Batch]]:
    """`batch` cut into as many as its instances need, each with the place of its first instance."""
    instances = iter(_instances(batch))
    for start in itertools.count(0, MAX_INSTANCES):
        part = list(itertools.islice(instances, MAX_INSTANCES))
        if not part and start:
            return
        yield start, {**batch, "instances": part}
        if len(part) < MAX_INSTANCES:
            return


def part_key(key: str, number: int) -> str:
    """The key of a part, from 0: what fits into one request has the key itself."""
    return f"{key}.{number}" if number else key


def moved(error: RequestRefused, start: int) -> RequestRefused:
    """`error` with the places of instances counted from the first of all, of which `start` come before its own."""
    envelope = json.loads(_INDEX.sub(lambda found: f"instances[{int(found[1]) + start}]", json.dumps(error.envelope)))
    there = RequestRefused(
        error.status_code, envelope, idempotency_key=error.idempotency_key, retry_after=error.retry_after
    )
    there.first_index = start
    return there


def answer(response: httpx2.Response, key: str | None = None) -> dict[str, Any]:
    """The body of an answered call.

    Raises:
        RequestRefused: any status of 400 and above, or an answer that is none of this server's.
    """
    body = body_of(response)
    if response.status_code < 400 and body:
        return body
    missing = {"result": False, "code": None, "message": f"HTTP {response.status_code} without an envelope"}
    raise RequestRefused(response.status_code, body or missing, idempotency_key=key, retry_after=retry_after(response))


def retry_after(response: httpx2.Response) -> float | None:
    """The ``Retry-After`` of `response` in seconds."""
    text = response.headers.get("retry-after", "")
    return float(text) if text.isascii() and text.isdigit() else None


def body_of(response: httpx2.Response) -> dict[str, Any]:
    """The JSON object of `response`; empty when it is none."""
    try:
        body = response.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _listed(batch: Batch) -> dict[str, object]:
    return {**batch, "instances": list(_instances(batch))}


def _instances(batch: Batch) -> Iterable[Instance]:
    """None where they were left out: the server names all that is missing."""
    return batch.get("instances") or ()


@dataclass(frozen=True, slots=True)
class _Lines:
    """The body of a job, made anew each time; many lines at once, for the sake of what sends them."""

    head: Mapping[str, object]
    instances: Iterable[Instance]

    def __iter__(self) -> Iterator[bytes]:
        yield _line(self.head)
        instances = iter(self.instances)
        while some := list(itertools.islice(instances, MAX_INSTANCES)):
            yield b"".join(map(_line, some))


def _line(document: Mapping[str, object]) -> bytes:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode() + b"\n"
