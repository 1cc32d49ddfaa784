"""What is sent and what comes back, as plain dictionaries with types. A key that is not there was not given.

Answers may carry more keys than are named here: a newer server says more.
"""

from collections.abc import Iterable
from typing import Literal, NotRequired, TypedDict

Status = Literal["PENDING", "RUNNING", "SUCCESS", "FAILED", "PART_FAILED", "TERMINATED"]
"""Of a request. The first two are unfinished."""
JobStatus = Literal["PENDING", "RUNNING", "SUCCESS", "FAILED", "PART_FAILED", "TERMINATED", "INTERRUPTED"]
"""Of a job. INTERRUPTED: its upload ended early; what was accepted runs, and the same key goes on where it stopped."""
Outcome = Literal["created", "existing", "healed", "failed", "skipped"]
"""Of an instance. healed: it existed, and rows that were missing under it were added."""
Language = Literal["en", "zh"]


class BindRow(TypedDict, total=False):
    """One row of ``bind_info``. `protocol`: "1" TCP, "2" UDP, "3" TCP6, "4" UDP6. `port`: "80" or "8000-8010"."""

    template_row_id: int | None
    ip: str | None
    port: str | None
    protocol: str | None
    enable: bool | None


class ProcessInfo(TypedDict, total=False):
    """The properties of a process by CMDB's names. Absent: the template's value; None: no value."""

    bk_process_name: str | None
    bk_func_name: str | None
    bk_start_param_regex: str | None
    description: str | None
    work_path: str | None
    user: str | None
    start_cmd: str | None
    stop_cmd: str | None
    restart_cmd: str | None
    face_stop_cmd: str | None
    reload_cmd: str | None
    pid_file: str | None
    auto_start: bool | None
    proc_num: int | None
    timeout: int | None
    """Seconds."""
    priority: int | None
    bk_start_check_secs: int | None
    auto_time_gap: int | None
    """Seconds."""
    bk_func_id: str | None
    bind_info: list[BindRow] | None


class Process(TypedDict, total=False):
    """One process of an instance. `process_template_id`: which of the module's templates; 0 in a module without."""

    process_template_id: int
    process_info: ProcessInfo | None


class Instance(TypedDict):
    """One service instance on one host. Without a name the server names it, as CMDB does."""

    bk_host_id: int
    service_instance_name: NotRequired[str | None]
    processes: NotRequired[list[Process]]


class BatchHead(TypedDict):
    """What a batch says besides its instances.

    `on_existing`: ``reuse`` (default) completes what exists and gives its id, ``fail`` refuses, ``clone`` makes another
    one. `mode`: ``atomic`` (default) is all or nothing, ``partial`` lets each instance stand alone. `strict` refuses
    what would otherwise be ignored with a warning.
    """

    bk_biz_id: int
    bk_module_id: int
    on_existing: NotRequired[Literal["reuse", "fail", "clone"]]
    mode: NotRequired[Literal["atomic", "partial"]]
    strict: NotRequired[bool]


class Batch(BatchHead):
    """A request: instances in one module. `instances` may be any iterable; 100 at most for `Client.submit`."""

    instances: Iterable[Instance]


class Envelope(TypedDict):
    """CMDB's six keys. `data`: the service instance ids in the order of the instances, None unless all are there."""

    result: bool
    code: int
    message: str
    permission: dict[str, object] | None
    request_id: str
    data: list[int] | None


class Statistics(TypedDict):
    """How many instances stand how. They add up to `total_count`."""

    total_count: int
    success_count: int
    failed_count: int
    pending_count: int
    running_count: int


class Problem(TypedDict):
    """What is wrong with a field: `path` from the body's root, as ``instances[3].bk_host_id``."""

    path: str
    code: int
    message: str


class Warning_(TypedDict):  # noqa: N801 - `Warning` is a builtin
    """What was accepted but not taken as sent. `reason` is a word for programs."""

    path: str
    reason: str
    message: str


class ItemProcess(TypedDict):
    """What became of a process."""

    bk_process_id: int | None
    process_template_id: int
    bk_process_name: str | None
    outcome: Outcome
    cmdb_id: NotRequired[int | None]
    """Where rows are handed on to CMDB: its id there."""


class Item(Problem):
    """What became of an instance, and why when it was not created. `index`: its place in the request, from 0."""

    index: int
    bk_host_id: int
    outcome: Outcome
    service_instance_id: int | None
    processes: list[ItemProcess]
    warnings: list[Warning_]
    cmdb_id: NotRequired[int | None]
    """Where rows are handed on to CMDB: its id there."""


class Summary(Envelope):
    """A request as a list shows it. Times are ISO 8601 in UTC."""

    status: Status
    statistics: Statistics
    created_at: str
    finished_at: str | None
    expires_at: str | None
    attempts: int
    bk_biz_id: NotRequired[int]
    bk_module_id: NotRequired[int]


class Report(Summary):
    """All that is known about a request. `result` is true while it is unfinished: it was accepted; read `status`."""

    items: list[Item]
    warnings: list[Warning_]
    errors: list[Problem]
    delivery: NotRequired[Literal["PENDING", "DELIVERED", "FAILED"]]
    """Where rows are handed on to CMDB: whether it has them."""
    delivery_error: NotRequired[Problem | None]
    """Why CMDB does not take them."""
    preview: NotRequired[list[dict[str, object]]]
    """Of a dry run: the rows that would be written, by instance."""
    success_created: NotRequired[dict[str, int]]
    error_msg: NotRequired[dict[str, str]]


class JobBatch(TypedDict):
    """One of a job's batches."""

    request_id: str
    status: Status | None
    code: NotRequired[int | None]
    statistics: NotRequired[Statistics | None]


class JobReport(TypedDict):
    """A job: any number of instances under one id. `result` is true only once every instance is there."""

    job_id: str
    status: JobStatus
    result: bool
    code: int
    message: str
    statistics: Statistics
    outcomes: dict[Outcome, int]
    accepted_count: int
    batch_count: int
    created_at: str
    finished_at: NotRequired[str | None]
    expires_at: NotRequired[str | None]


FINAL: frozenset[str] = frozenset({"SUCCESS", "FAILED", "PART_FAILED", "TERMINATED", "INTERRUPTED"})
"""Statuses that do not change any more, but for INTERRUPTED, which goes on when its upload does."""
