"""The answer: the documented six keys, and the report around them that v1 shows.

`Report` is what the worker stores, in Redis and in PostgreSQL alike; a compat caller sees `Report.envelope`, a v1
caller `contract.answer.document`. Texts are rendered when somebody reads, in the reader's language.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, NotRequired, Self, Unpack, cast

import orjson
from pydantic import AwareDatetime, BaseModel, Field
from typing_extensions import TypedDict  # before Python 3.12 pydantic takes no other

from contract.answer.status import (
    DeliveryStatus,
    Item,
    Items,
    JobPart,
    Outcome,
    Problem,
    Statistics,
    Status,
    Warning_,
    failed_item,
    item_problem,
    with_cmdb_ids,
)
from contract.codes import Code, Language, Refused
from contract.request.batch import MAX_ERRORS

if TYPE_CHECKING:
    from contract.settings import Settings


class Envelope(TypedDict):
    """Exactly the documented six keys, in the documented order."""

    result: bool
    code: int
    message: str
    permission: dict[str, Any] | None
    request_id: str
    data: list[int] | None


def envelope(
    said: Problem | Refused,
    request_id: str,
    language: Language = "en",
    *,
    result: bool = False,
    permission: dict[str, Any] | None = None,
    data: list[int] | None = None,
) -> Envelope:
    """The envelope that says `said`."""
    return {
        "result": result,
        "code": int(said.code),
        "message": said.message(language),
        "permission": permission,
        "request_id": request_id,
        "data": data,
    }


_SUCCESS: Final = Problem(code=Code.SUCCESS)
_STILL_RUNNING: Final = Problem(code=Code.STILL_RUNNING)
_IN_BOTH: Final = {"code", "permission", "request_id", "data"}
"""Fields of a report that stand in its envelope too."""


class About(TypedDict):
    """What every report of a request carries, whatever became of it."""

    request_id: str
    bk_biz_id: int
    bk_module_id: int
    created_at: AwareDatetime
    bk_app_code: NotRequired[str]
    finished_at: NotRequired[AwareDatetime | None]
    expires_at: NotRequired[AwareDatetime | None]
    attempts: NotRequired[int]
    warnings: NotRequired[tuple[Warning_, ...]]
    job: NotRequired[JobPart | None]


def report_expires_at(finished_at: datetime, settings: "Settings", *, in_ledger: bool = True) -> datetime:
    """Until when a report can be polled: while PostgreSQL keeps it, or, of a dry run, while Redis does."""
    kept = timedelta(days=settings.ledger_days) if in_ledger else timedelta(seconds=settings.result_ttl_s)
    return finished_at + kept


class Report(Problem):
    """Everything known about a request. `code`, `message_args` and `path` are the error that decides it, or success."""

    request_id: str
    bk_app_code: str = ""
    bk_biz_id: int
    bk_module_id: int
    status: Status
    errors: tuple[Problem, ...] = ()
    permission: dict[str, Any] | None = None
    data: list[int] | None = None
    statistics: Statistics = Field(default_factory=Statistics)
    items: Items = ()
    warnings: tuple[Warning_, ...] = ()
    created_at: AwareDatetime
    finished_at: AwareDatetime | None = None
    expires_at: AwareDatetime | None = None
    attempts: int = 0
    job: JobPart | None = None
    preview: tuple[dict[str, Any], ...] | None = None
    """Of a dry run: the rows of each instance that could be written. Nothing was, so `data` is null."""
    delivery: DeliveryStatus | None = None
    delivery_problem: Problem | None = None
    """Why CMDB does not take the rows."""

    @classmethod
    def pending(cls, count: int, *, running: bool = False, **about: Unpack[About]) -> Self:
        """An accepted request of `count` instances that waits, or runs."""
        status = Status.RUNNING if running else Status.PENDING
        return cls(status=status, code=Code.STILL_RUNNING, statistics=Statistics.of((), status, count), **about)

    @classmethod
    def settled(cls, items: Iterable[Item], **about: Unpack[About]) -> Self:
        """A request of which each instance has its outcome.

        SUCCESS when all rows are there, with their ids as `data`; FAILED with the first failed item's code when none
        are; PART_FAILED (1190011) in between, which only mode "partial" reaches.
        """
        ordered = tuple(sorted(items, key=lambda item: item["index"]))
        statistics = Statistics.of(ordered, Status.SUCCESS)
        if statistics.success_count == len(ordered):
            ids = [id_ for item in ordered if (id_ := item.get("service_instance_id")) is not None]
            return cls._ended(Status.SUCCESS, _SUCCESS, (), ordered, statistics, data=ids, **about)
        failed = [item_problem(item) for item in ordered if item["outcome"] is Outcome.FAILED]
        if statistics.success_count:
            status, decisive = Status.PART_FAILED, Problem(code=Code.PARTLY_FAILED)
        else:
            status, decisive = Status.FAILED, failed[0] if failed else Problem(code=Code.UNKNOWN)
        return cls._ended(status, decisive, failed, ordered, statistics, **about)

    @classmethod
    def previewed(cls, items: Iterable[Item], preview: Iterable[dict[str, Any]], **about: Unpack[About]) -> Self:
        """A dry run: what would become of each instance, and its rows. Only instances that exist have an id."""
        report = cls.settled(items, **about)
        return report.model_copy(update={"data": None, "preview": tuple(preview)})

    @classmethod
    def refused(cls, refused: Mapping[int, Refused], hosts: Sequence[int], **about: Unpack[About]) -> Self:
        """An atomic request that ends because some of its instances cannot be created: the others are skipped.

        Args:
            refused: why, by the instance's index; at least one. The lowest index decides code and message.
            hosts: every instance's bk_host_id, in the request's order.
            about: the request.
        """
        decisive = refused[min(refused)]
        items = [
            failed_item(index, host, refused[index])
            if index in refused
            else failed_item(index, host, decisive, outcome=Outcome.SKIPPED)
            for index, host in enumerate(hosts)
        ]
        return cls.settled(items, **about)

    @classmethod
    def failed(
        cls,
        refused: Refused,
        hosts: Sequence[int] = (),
        *,
        count: int | None = None,
        further: Sequence[Refused] = (),
        permission: dict[str, Any] | None = None,
        **about: Unpack[About],
    ) -> Self:
        """A request that ends as a whole, for one reason. A cancelled one is TERMINATED, and its instances are skipped.

        Args:
            refused: why.
            hosts: every instance's bk_host_id, in the request's order; empty when nobody knows them any more, and
                then `count` says how many there were.
            count: number of instances; ``len(hosts)`` by default.
            further: more that is wrong, listed after `refused`.
            permission: what the caller lacks, in IAM's shape (9900403).
            about: the request.
        """
        is_cancelled = refused.code == Code.CANCELLED
        status = Status.TERMINATED if is_cancelled else Status.FAILED
        outcome = Outcome.SKIPPED if is_cancelled else Outcome.FAILED
        items = tuple(failed_item(index, host, refused, outcome=outcome) for index, host in enumerate(hosts))
        problems = [Problem.of(one) for one in (refused, *further)]
        statistics = Statistics.of(items, status, count)
        return cls._ended(status, problems[0], problems, items, statistics, permission=permission, **about)

    def ended(
        self,
        *refused: Refused,
        finished_at: AwareDatetime,
        expires_at: AwareDatetime,
        permission: dict[str, Any] | None = None,
    ) -> Self:
        """How this pending request ends for `refused`, without anybody having seen its instances."""
        about, count = self._about(finished_at, expires_at), self.statistics.total_count
        return self.failed(refused[0], further=refused[1:], count=count, permission=permission, **about)

    def to_deliver(self, *, is_awaited: bool) -> Self:
        """This report, whose rows are still to be handed on to CMDB.

        Args:
            is_awaited: the request has not ended before that is done. That is never so for a batch of a job.
        """
        if not is_awaited or self.job is not None:
            return self.model_copy(update={"delivery": DeliveryStatus.PENDING})
        unfinished = self.pending(len(self.items), running=True, **self._about(None, None))
        return unfinished.model_copy(update={"delivery": DeliveryStatus.PENDING, "items": self.items})

    def delivered(
        self,
        cmdb_ids: Mapping[int, int],
        process_ids: Mapping[int, int],
        *,
        problem: Problem | None = None,
        finished_at: AwareDatetime,
        expires_at: AwareDatetime,
    ) -> Self:
        """This report with CMDB's ids; where its end was waited for, they are `data`.

        Args:
            cmdb_ids: of service instances, by ids of ours.
            process_ids: the same of processes.
            problem: why CMDB did not take all of it.
            finished_at: now, for a request that ends with this.
            expires_at: until when it can be polled then.
        """
        items = [with_cmdb_ids(item, cmdb_ids, process_ids) for item in self.items]
        found = self
        if not self.status.is_final or self.code == Code.NOT_DELIVERED:
            found = self._answering(items, problem, self._about(finished_at, expires_at))
        delivery = DeliveryStatus.DELIVERED if problem is None else DeliveryStatus.FAILED
        return found.model_copy(update={"items": tuple(items), "delivery": delivery, "delivery_problem": problem})

    def _about(self, finished_at: AwareDatetime | None, expires_at: AwareDatetime | None) -> About:
        """What this report says of its request, for one that ends then or not yet."""
        about: About = {name: getattr(self, name) for name in About.__annotations__}  # type: ignore[assignment]
        return about | {"finished_at": finished_at, "expires_at": expires_at}

    @classmethod
    def _answering(cls, items: Sequence[Item], problem: Problem | None, about: About) -> Self:
        """The end of a request that waited for CMDB."""
        if problem is not None:
            statistics = Statistics.of(items, Status.FAILED)
            return cls._ended(Status.FAILED, problem, [problem], tuple(items), statistics, **about)
        report = cls.settled(items, **about)
        if report.status is not Status.SUCCESS:
            return report
        return report.model_copy(update={"data": [item.get("cmdb_id") for item in items]})

    @classmethod
    def _ended(
        cls,
        status: Status,
        decisive: Problem,
        errors: Sequence[Problem],
        items: tuple[Item, ...],
        statistics: Statistics,
        *,
        data: list[int] | None = None,
        permission: dict[str, Any] | None = None,
        **about: Unpack[About],
    ) -> Self:
        return cls(
            status=status,
            code=decisive.code,
            message_args=decisive.message_args,
            path=decisive.path,
            errors=tuple(errors[:MAX_ERRORS]),
            permission=permission,
            data=data,
            statistics=statistics,
            items=items,
            **about,
        )

    def envelope(self, language: Language = "en") -> Envelope:
        """The six keys for a compat caller: ``result`` is true only once all rows exist; unfinished is 1190001."""
        done = self.status is Status.SUCCESS
        said = self if self.status.is_final else _STILL_RUNNING
        data = self.data if done else None
        return envelope(said, self.request_id, language, result=done, permission=self.permission, data=data)

    def dump(self) -> bytes:
        """The report as stored: JSON, the six keys in English first, so that any Redis client can read an outcome.

        The others follow in the order of the class, without those that have their default.
        """
        stored = cast("dict[str, Any]", self.envelope())
        for name, default in _OTHERS.items():
            value = getattr(self, name)
            if value is not default and value != default:
                stored[name] = value
        return orjson.dumps(stored, _plainly, orjson.OPT_UTC_Z | orjson.OPT_PASSTHROUGH_DATACLASS)

    @classmethod
    def load(cls, stored: bytes | str) -> Self:
        """What `dump` wrote.

        Raises:
            pydantic.ValidationError: it is no report.
        """
        return cls.model_validate_json(stored)


_OTHERS: Final = {
    name: field.get_default(call_default_factory=True)
    for name, field in Report.model_fields.items()
    if name not in _IN_BOTH
}
"""The fields of a report that its envelope does not have, and their defaults."""


def _plainly(part: object) -> object:
    """A part of a report as orjson can write it."""
    if isinstance(part, Statistics):
        return {name: count for name, count in part.counters().items() if count}
    if isinstance(part, BaseModel):
        return part.model_dump(exclude_defaults=True)
    raise TypeError
