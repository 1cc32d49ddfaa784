"""The dead letter of a message: what is kept of one that no task may see, without the credentials in it."""

import base64
import binascii
import re
import time
import uuid
from typing import Final

import orjson

from contract.credentials import SECRETS
from worker.consumer.transport.screen import LARGEST_MESSAGE, PARSE_ERRORS, is_name

KEPT_OF_DEAD: Final = 256 * 1024
"""Bytes of a raw message that its dead letter keeps; a full batch sent without a pending entry fits."""

# A name and its text as JSON or Python writes them, or as either stands inside a text; to the end if it was cut.
_SECRET: Final = re.compile(
    rb"""(\\*["'])(%s)\1(\s*:\s*)\1.*?(?:(?<!\\)(\1)|\Z)""" % "|".join(SECRETS).encode(),
    re.DOTALL,
)
_BODY: Final = re.compile(rb'(?P<before>"body"\s*:\s*")(?P<body>[A-Za-z0-9+/]*=*)')


def dead_letter(raw: bytes, *, queue: str, reason: str, size: int | None = None) -> bytes:
    """The JSON that is kept of a message that was set aside.

    Its keys: ``id`` (of the letter), ``kind`` = ``"message"``, ``at`` (ms since 1970), ``queue`` (the list it came
    from), ``reason``, ``task_id`` (str or null), ``size`` (bytes), ``raw`` (base64), ``truncated`` (whether ``raw``
    is only the beginning, so that it cannot be sent again). Credentials in it are emptied.
    """
    size = size or len(raw)
    kept = without_credentials(raw[:KEPT_OF_DEAD])
    return orjson.dumps(
        {
            "id": uuid.uuid4().hex,
            "kind": "message",
            "at": time.time_ns() // 1_000_000,
            "queue": queue,
            "reason": reason,
            "task_id": _task_id(raw),
            "size": size,
            "raw": base64.b64encode(kept).decode(),
            "truncated": size > KEPT_OF_DEAD,
        }
    )


def without_credentials(raw: bytes) -> bytes:
    """`raw`, a message or its beginning, with an empty text for each secret in it, in its body too."""
    return _BODY.sub(_without_in_body, _SECRET.sub(rb"\1\2\1\3\1\4", raw))


def _without_in_body(found: re.Match[bytes]) -> bytes:
    encoded = found["body"]
    whole = len(encoded) - len(encoded) % 4
    try:
        body = base64.b64decode(encoded[:whole], validate=True)
    except binascii.Error:
        return found[0]
    cleaned = _SECRET.sub(rb"\1\2\1\3\1\4", body)
    return found[0] if cleaned == body else found["before"] + base64.b64encode(cleaned)


def _task_id(raw: bytes) -> str | None:
    if len(raw) > LARGEST_MESSAGE:
        return None
    try:
        task_id = orjson.loads(raw)["headers"]["id"]
    except PARSE_ERRORS:
        return None
    return task_id if is_name(task_id) else None
