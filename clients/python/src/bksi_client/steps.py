"""The steps of what a client is asked for. See `bksi_client.flow`."""

import uuid
from typing import Any, NamedTuple

import httpx2

from bksi_client import calls
from bksi_client.flow import Steps, perform
from bksi_client.options import Options


class Accepted(NamedTuple):
    """What a server took."""

    id: str
    response: httpx2.Response


def key_of(given: str | None) -> str:
    """The idempotency key of a call: the one that was given, else one that nobody else has."""
    return uuid.uuid4().hex if given is None else given


def submit(call: calls.Call, id_name: str, options: Options) -> Steps[Accepted]:
    """Enqueue what `call` brings; the answer has its id under `id_name`."""
    response = yield from perform(call, options)
    return Accepted(calls.answer(response, call.key)[id_name], response)


def ask(call: calls.Call, options: Options) -> Steps[Any]:
    """The body of the answer."""
    return calls.answer((yield from perform(call, options)), call.key)
