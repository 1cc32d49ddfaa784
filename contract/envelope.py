"""The answer: the seed's six keys, and the report around them that v1 shows.

`Report` is what the worker stores, in Redis and in PostgreSQL alike; `Report.envelope` is what a compat caller sees.
Texts are rendered when somebody reads, in the reader's language, from the code and its arguments.
"""

from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from contract.codes import Code, Language, text


class Status(StrEnum):
    """Where a request stands. The first two are unfinished, the rest are final."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    SUCCESS = "SUCCESS"
    FAILED = "FAILED"
    PART_FAILED = "PART_FAILED"
    TERMINATED = "TERMINATED"

    @property
    def is_final(self) -> bool:
        """Whether the request has ended."""
        return self not in (Status.PENDING, Status.RUNNING)


class Outcome(StrEnum):
    """What became of one instance, or of one process under it."""

    CREATED = "created"
    EXISTING = "existing"
    HEALED = "healed"
    FAILED = "failed"
    SKIPPED = "skipped"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)


class Envelope(_Frozen):
    """Exactly the seed's six keys, in the seed's order."""

    result: bool
    code: int
    message: str
    permission: dict[str, Any] | None = None
    request_id: str
    data: list[int] | None = None


class Warning_(_Frozen):  # noqa: N801 - `Warning` is a builtin
    """Something that was accepted but not taken as sent: a field path, never the value."""

    path: str
    reason: str


class ProcessItem(_Frozen):
    """One process of an instance."""

    bk_process_id: int | None = None
    process_template_id: int = 0
    bk_process_name: str | None = None
    outcome: Outcome


class Item(_Frozen):
    """One instance of the request. `data` of the envelope holds the same ids in the same order."""

    index: int
    bk_host_id: int
    outcome: Outcome
    service_instance_id: int | None = None
    processes: tuple[ProcessItem, ...] = ()
    code: int = 0
    message_args: tuple[Any, ...] = ()
    path: str = ""

    def message(self, language: Language = "en") -> str:
        """The item's own text."""
        return text(Code(self.code), self.message_args, language)


class Statistics(_Frozen):
    """Counters over the items; the total always adds up."""

    total_count: int = 0
    success_count: int = 0
    failed_count: int = 0
    pending_count: int = 0
    running_count: int = 0


class Report(_Frozen):
    """Everything known about a request."""

    request_id: str
    bk_app_code: str = ""
    bk_biz_id: int
    bk_module_id: int
    status: Status
    code: int = 0
    message_args: tuple[Any, ...] = ()
    path: str = ""
    errors: tuple[dict[str, Any], ...] = ()
    permission: dict[str, Any] | None = None
    data: list[int] | None = None
    statistics: Statistics = Field(default_factory=Statistics)
    items: tuple[Item, ...] = ()
    warnings: tuple[Warning_, ...] = ()
    created_at: datetime
    finished_at: datetime | None = None
    expires_at: datetime | None = None
    attempts: int = 0

    def envelope(self, language: Language = "en") -> Envelope:
        """The six keys."""
        done = self.status is Status.SUCCESS
        return Envelope(
            result=done,
            code=self.code,
            message=text(Code(self.code), self.message_args, language),
            permission=self.permission,
            request_id=self.request_id,
            data=self.data if done else None,
        )
