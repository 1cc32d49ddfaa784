"""A dead letter as an operator sees it."""

import base64
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import orjson

from contract.redis.requests import moment


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One entry of the list.

    Attributes:
        id: of the letter; a request's is its request_id.
        kind: ``message`` was set aside unread, ``request`` was given up after too many starts.
        at: when it was set aside.
        reason: why, without any value of the message.
        about: what else the letter says, by name; neither the message nor the payload.
        stored: the letter's bytes.
    """

    id: str
    kind: Literal["message", "request"]
    at: datetime
    reason: str
    about: dict[str, Any]
    stored: bytes

    @classmethod
    def load(cls, stored: bytes) -> "DeadLetter":
        """What `contract.redis.records.letter_of` or `worker.consumer.transport.letter.dead_letter` wrote."""
        letter = orjson.loads(stored)
        letter.pop("raw", None)
        about = {name: letter[name] for name in letter.keys() - {"id", "kind", "at", "reason"}}
        return cls(letter["id"], letter["kind"], moment(letter["at"]), letter["reason"], about, stored)

    @property
    def subject(self) -> str:
        """What it is about, in a few words."""
        about = self.about
        if self.kind == "request":
            return f"biz={about['biz']} module={about['module']} instances={about['count']} app={about['app']}"
        return f"{about['size']} bytes from {about['queue']}"

    @property
    def raw(self) -> bytes:
        """The bytes of a message, or the beginning of them."""
        return base64.b64decode(orjson.loads(self.stored)["raw"])

    def document(self) -> dict[str, Any]:
        """What ``show`` and ``--json`` say; times in ISO 8601, UTC."""
        about = {name: moment(value) if name == "created" else value for name, value in sorted(self.about.items())}
        values = {"id": self.id, "kind": self.kind, "at": self.at, "reason": self.reason, **about}
        return {
            name: value.isoformat(timespec="milliseconds") if isinstance(value, datetime) else value
            for name, value in values.items()
        }
