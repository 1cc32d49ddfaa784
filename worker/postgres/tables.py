"""The tables that requests write, as SQLAlchemy Core metadata. Column names are CMDB's.

The constraints are the promises: each natural key is held by a unique constraint over columns that cannot be null, so
that no race between workers can double a row. The migrations create what stands here and in
`worker.postgres.cmdb_tables`; a test compares both.
"""

from functools import partial
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Sequence,
    Table,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from contract.request.batch import PROCESS_PROPERTIES as PROCESS_RULES

TEXT_LIMITS: Final = {name: rule.max_bytes for name, rule in PROCESS_RULES.items() if rule.max_bytes is not None}
"""Text properties of a process and their limit in bytes (CMDB's process model)."""
INT_RANGES: Final = {
    name: (rule.minimum, rule.maximum)
    for name, rule in PROCESS_RULES.items()
    if rule.minimum is not None and rule.maximum is not None
}
"""Integer properties of a process and their inclusive range (CMDB's process model)."""
BOOL_PROPERTIES: Final = tuple(name for name, rule in PROCESS_RULES.items() if rule.type == "bool")
REQUIRED_PROPERTIES: Final = frozenset(name for name, rule in PROCESS_RULES.items() if rule.required)
PROCESS_PROPERTIES: Final[tuple[str, ...]] = (*TEXT_LIMITS, *BOOL_PROPERTIES, *INT_RANGES)
"""All scalar properties of a process, in column order."""

ID_BLOCK: Final = 1000
"""How many ids one `nextval` reserves: the value and the ``ID_BLOCK - 1`` after it."""

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    },
)

service_instance_ids = Sequence("service_instance_id_block", increment=ID_BLOCK, metadata=metadata)
process_ids = Sequence("bk_process_id_block", increment=ID_BLOCK, metadata=metadata)


def key(name: str, *constraints: ForeignKey) -> Column[object]:
    """A primary key that CMDB or the writer gives."""
    return Column(name, BigInteger, *constraints, primary_key=True, autoincrement=False)


def _columns(type_: Any, *names: str, default: Any = None) -> list[Column[object]]:
    """Columns that are never null."""
    return [Column(name, type_, nullable=False, server_default=default) for name in names]


bigints = partial(_columns, BigInteger)
integers = partial(_columns, Integer)
texts = partial(_columns, Text)
moments = partial(_columns, DateTime(timezone=True), default=func.now())
id_lists = partial(_columns, ARRAY(BigInteger))


def _property_columns() -> list[Column[object]]:
    types = (
        dict.fromkeys(TEXT_LIMITS, Text) | dict.fromkeys(BOOL_PROPERTIES, Boolean) | dict.fromkeys(INT_RANGES, Integer)
    )
    return [Column(name, types[name], nullable=name not in REQUIRED_PROPERTIES) for name in PROCESS_PROPERTIES]


def _property_checks() -> list[CheckConstraint]:
    lengths = [
        CheckConstraint(f"octet_length({_quoted(name)}) <= {limit}", name=name) for name, limit in TEXT_LIMITS.items()
    ]
    required = [CheckConstraint(f"{name} <> ''", name=f"{name}_not_empty") for name in sorted(REQUIRED_PROPERTIES)]
    ints = [CheckConstraint(f"{name} BETWEEN {low} AND {high}", name=name) for name, (low, high) in INT_RANGES.items()]
    return lengths + required + ints


def _quoted(name: str) -> str:
    return '"user"' if name == "user" else name  # the one property whose name SQL reserves


service_instance = Table(
    "service_instance",
    metadata,
    key("id"),
    *bigints("bk_biz_id", "bk_module_id", "bk_host_id"),
    # '' in a bound module (one instance per module and host); in an unbound one the name, its digest, or a clone's key.
    *texts("instance_key"),
    *bigints("service_template_id"),
    *texts("name"),
    Column("labels", JSONB),
    *texts("creator", "modifier", "bk_supplier_account", "request_id"),
    *moments("create_time", "last_time"),
    UniqueConstraint("bk_module_id", "bk_host_id", "instance_key", name="uq_service_instance_natural_key"),
)

process = Table(
    "process",
    metadata,
    key("bk_process_id"),
    Column("service_instance_id", BigInteger, ForeignKey("service_instance.id"), nullable=False),
    *bigints("bk_biz_id", "bk_host_id", "process_template_id"),
    *_property_columns(),
    *texts("bk_supplier_account", "bk_created_by"),
    *moments("create_time", "last_time"),
    UniqueConstraint("service_instance_id", "bk_process_name", name="uq_process_bk_process_name"),
    # NULLS DISTINCT on purpose: in CMDB a null regex escapes this rule and an empty one takes part in it.
    UniqueConstraint(
        "service_instance_id",
        "bk_func_name",
        "bk_start_param_regex",
        name="uq_process_func_name_start_regex",
    ),
    *_property_checks(),
    Index(
        "uq_process_process_template_id",
        "service_instance_id",
        "process_template_id",
        unique=True,
        postgresql_where=text("process_template_id > 0"),
    ),
)

process_bind_info = Table(
    "process_bind_info",
    metadata,
    *bigints("bk_host_id"),
    Column("bk_process_id", BigInteger, ForeignKey("process.bk_process_id"), nullable=False),
    *bigints("template_row_id"),
    *texts("ip", "port", "protocol"),
    Column("enable", Boolean, nullable=False),
    # Its place among the rows of the process, from 0. Rows written before there was one all have 0 and stand by id.
    *integers("position", default="0"),
    # The process first: its ids ascend, so new rows go to the end of the index. By host they would go to as many pages
    # as there are hosts, and PostgreSQL logs a page whole when it is first touched after a checkpoint. A delete of a
    # process needs this order too.
    PrimaryKeyConstraint("bk_process_id", "template_row_id", "bk_host_id"),
    CheckConstraint("protocol IN ('1', '2', '3', '4')", name="protocol"),
    CheckConstraint("octet_length(port) BETWEEN 1 AND 11", name="port"),
    CheckConstraint("octet_length(ip) <= 45", name="ip"),
)

audit_log = Table(
    "audit_log",
    metadata,
    Column("request_id", Text, primary_key=True),
    *texts("operator", "bk_app_code", "bk_supplier_account"),
    *bigints("bk_biz_id", "bk_module_id"),
    *texts("action"),
    *id_lists("created_ids", "healed_ids"),
    *moments("created_at"),
    comment="One row for each request that wrote something; ids are those of service instances.",
)

request_ledger = Table(
    "request_ledger",
    metadata,
    Column("request_id", Text, primary_key=True),
    *texts("bk_app_code"),
    *bigints("bk_biz_id", "bk_module_id"),
    *texts("status"),
    *integers("code"),
    Column("report", Text),  # null once purged: the request is known, its answer is gone
    *integers("attempt"),
    Column("created_at", DateTime(timezone=True), nullable=False),
    *moments("finished_at"),
    # Of a request that is part of a job; else all four are null.
    Column("job_id", Text),
    Column("job_number", Integer),
    Column("job_is_last", Boolean),
    Column("outcomes", ARRAY(Integer)),  # instances by outcome, in the order of `contract.answer.status.Outcome`
    Index("ix_request_ledger_finished_at", "finished_at", postgresql_where=text("report IS NOT NULL")),
    Index(None, "job_id", "job_number", postgresql_where=text("job_id IS NOT NULL")),
    comment="One row for each request that has ended. Whoever inserts it first decides the outcome.",
)
