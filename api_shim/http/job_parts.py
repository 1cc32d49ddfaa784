"""Cut a job's instances into batches of a hundred, or of fewer that are as long as a request's body may be."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any, Final

from api_shim.http.body import MAX_BODY_BYTES
from api_shim.http.limits import RateLimited
from api_shim.http.state import AppState
from api_shim.identity.doorkeeper import Identity
from contract.answer.job import moved_path
from contract.codes import Refused
from contract.request.batch import MAX_INSTANCES
from contract.request.parse import BatchRefused, ParsedBatch, parse

_LET_OTHERS_S: Final = 0.01


async def cut(
    head: dict[str, Any], instances: AsyncIterator[tuple[Any, int]], *, strict: bool
) -> AsyncIterator[ParsedBatch]:
    """Each hundred of `instances` as a batch under `head`; an error names the instance by its place in the job.

    They come with their sizes: a batch is cut before the hundred where the next one would make it longer than 4 MiB.

    Raises:
        BatchRefused: as `parse`, when the iterator comes to it.
    """
    first, since = 0, time.monotonic()
    async for group in _groups(instances):
        yield _parsed(head, group, first, strict=strict)
        first += len(group)
        if time.monotonic() - since > _LET_OTHERS_S:
            await asyncio.sleep(0)
            since = time.monotonic()
    if not first:
        yield _parsed(head, [], first, strict=strict)


async def _groups(instances: AsyncIterator[tuple[Any, int]]) -> AsyncIterator[list[Any]]:
    """A hundred is there as soon as the hundredth is: its sender may pause then."""
    group: list[Any] = []
    size = 0
    async for instance, its_size in instances:
        if group and size + its_size > MAX_BODY_BYTES:
            yield group
            group, size = [], 0
        group.append(instance)
        size += its_size
        if len(group) == MAX_INSTANCES:
            yield group
            group, size = [], 0
    if group:
        yield group


def _parsed(head: dict[str, Any], instances: list[Any], first: int, *, strict: bool) -> ParsedBatch:
    body = {**head, "instances": instances} if instances else {"instances": [], **head}
    try:
        return parse(body, strict=strict)
    except BatchRefused as refused:
        raise BatchRefused(tuple(_moved(error, first) for error in refused.errors)) from None


def _moved(error: Refused, first: int) -> Refused:
    path = moved_path(error.path, first)
    return Refused(error.code, *(path if arg == error.path else arg for arg in error.message_args), path=path)


async def charge(state: AppState, identity: Identity) -> None:
    """Count one more batch against its caller's rate; over it, its sender is held back until there is room."""
    while True:
        try:
            state.rates.spend(identity, "submit")
        except RateLimited as limited:
            await asyncio.sleep(max(limited.retry_after, _LET_OTHERS_S))
        else:
            return
