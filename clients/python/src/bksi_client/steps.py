"""The steps of what a client is asked for. See `bksi_client.flow`."""

import uuid
from collections.abc import Mapping
from typing import Any, NamedTuple, cast

import httpx2

from bksi_client import calls
from bksi_client.flow import Steps, perform
from bksi_client.options import Options
from bksi_client.types import Batch, Envelope, Report

Filters = Mapping[str, str | int | None]


class Accepted(NamedTuple):
    """What a server took."""

    id: str
    response: httpx2.Response


def new_key() -> str:
    """An idempotency key that nobody else has."""
    return uuid.uuid4().hex


def submit(batch: Batch, key: str, options: Options) -> Steps[Accepted]:
    """Enqueue up to 100 instances."""
    response = yield from perform(calls.submission(batch, key), options)
    return Accepted(calls.answer(response, key)["request_id"], response)


def submit_job(batch: Batch, key: str, options: Options) -> Steps[Accepted]:
    """Enqueue any number of instances under one id."""
    response = yield from perform(calls.job_submission(batch, key), options)
    return Accepted(calls.answer(response, key)["job_id"], response)


def validate(batch: Batch, options: Options) -> Steps[Report]:
    """What would be."""
    return cast("Report", calls.answer((yield from perform(calls.validation(batch), options))))


def create_service_instance(payload: Mapping[str, object], options: Options) -> Steps[Envelope]:
    """The old call."""
    return cast("Envelope", calls.answer((yield from perform(calls.old_call(payload), options))))


def poll(request_id: str, wait_s: float, options: Options) -> Steps[Report]:
    """How a request stands."""
    call = calls.poll(f"/v1/batches/{request_id}", min(wait_s, calls.LONGEST_POLL_S))
    return cast("Report", calls.answer((yield from perform(call, options))))


def page(path: str, filters: Filters, cursor: str | None, options: Options) -> Steps[dict[str, Any]]:
    """One page of a list, with its ``next_cursor``."""
    return calls.answer((yield from perform(calls.page(path, filters, cursor), options)))
