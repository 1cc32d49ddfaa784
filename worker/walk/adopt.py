"""A request whose sender has nothing of ours: until its entry is pending, its message is all there is of it."""

from typing import TYPE_CHECKING

from contract.answer.permission import iam_permission
from contract.answer.report import Report, report_expires_at
from contract.codes import Code, Refused
from contract.message import TaskArguments
from contract.redis.records import PendingEntry
from contract.request.batch import MAX_INT64
from contract.request.parse import BatchRefused, parse, with_defaults
from plumbing import traces
from plumbing.failpoints import async_failpoint
from worker.custody.finish import finish
from worker.custody.leases import Leases
from worker.postgres.engine import Engine

if TYPE_CHECKING:  # it brings cryptography along, so it is loaded where senders are configured and nowhere else
    from worker.senders import Sender, Senders


class NotTrusted(Exception):
    """A message is not provably a known sender's. The text is one of a few and holds nothing of the message."""


async def adopt(leases: Leases, engine: Engine, arguments: TaskArguments, senders: "Senders | None") -> Report | None:
    """Write the pending entry that a submitter would have written, or refuse the batch as it would have.

    A known sender is held to its businesses, and its batch means what it has as its defaults.

    Returns:
        The report of a refused request; None when it can be leased now.

    Raises:
        NotTrusted: see `open_message`.
        DatabaseError: the refusal could not be written.
        redis.exceptions.RedisError: Redis is away.
        QueueFull: `max_pending` requests are unfinished.
    """
    arguments, sender = open_message(arguments, senders)
    request_id, caller, body = arguments.request_id, arguments.caller, arguments.batch or {}
    settings, permission = leases.settings, None
    try:
        parsed = parse(with_defaults(body, sender, settings))
        errors: tuple[Refused, ...] = ()
    except BatchRefused as refused:
        errors = refused.errors
    else:
        if sender is not None and not sender.may_write(parsed.batch.bk_biz_id):
            errors, permission = (Refused(Code.NO_PERMISSION),), iam_permission(parsed.batch.bk_biz_id)
    if errors:
        now = await leases.now()
        asked = Report.pending(
            0,
            request_id=request_id,
            bk_app_code=caller.bk_app_code,
            bk_biz_id=_id(body.get("bk_biz_id")),
            bk_module_id=_id(body.get("bk_module_id")),
            created_at=now,
        )
        expires_at = report_expires_at(now, settings)
        report = asked.ended(*errors, finished_at=now, expires_at=expires_at, permission=permission)
        return await finish(leases, engine, report)
    # Of our own span: what a sender has written there may be anything.
    headers = traces.headers(traces.current().traceparent)
    entry = PendingEntry.of(request_id, parsed.batch, caller, parsed.warnings, headers=headers)
    await leases.submit(entry, message=b"")
    await async_failpoint("after_adopt", request_id)
    return None


def open_message(arguments: TaskArguments, senders: "Senders | None") -> "tuple[TaskArguments, Sender | None]":
    """What a direct message asks for, and who provably asks; nobody in particular where no senders are configured.

    Raises:
        NotTrusted: see `Senders.open`; also a signature where nobody can check it.
    """
    if senders is not None:
        return senders.open(arguments)
    if arguments.signed is not None:
        raise NotTrusted("the message is signed, and this worker knows no senders (BKSI_SENDERS_FILE)")
    return arguments, None


def _id(value: object) -> int:
    return value if isinstance(value, int) and 0 < value <= MAX_INT64 else 0
