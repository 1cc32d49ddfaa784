"""Every table of the product, as SQLAlchemy Core metadata. Column names are CMDB's.

The constraints are the promises: each natural key is held by a unique constraint over columns that cannot be null, so
that no race between workers can double a row. The migrations create what stands here; a test compares both.
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
    Identity,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Sequence,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from worker.postgres.process_properties import (
    BOOL_PROPERTIES,
    INT_RANGES,
    PROCESS_PROPERTIES,
    REQUIRED_PROPERTIES,
    TEXT_LIMITS,
)

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


def _id(name: str, *constraints: ForeignKey) -> Column[object]:
    """A primary key that CMDB or the writer gives."""
    return Column(name, BigInteger, *constraints, primary_key=True, autoincrement=False)


def _columns(type_: Any, *names: str, default: Any = None) -> list[Column[object]]:
    """Columns that are never null."""
    return [Column(name, type_, nullable=False, server_default=default) for name in names]


_big = partial(_columns, BigInteger)
_int = partial(_columns, Integer)
_text = partial(_columns, Text)
_now = partial(_columns, DateTime(timezone=True), default=func.now())


def _property_columns() -> list[Column[object]]:
    types = (
        dict.fromkeys(TEXT_LIMITS, Text) | dict.fromkeys(BOOL_PROPERTIES, Boolean) | dict.fromkeys(INT_RANGES, Integer)
    )
    return [Column(name, types[name], nullable=name not in REQUIRED_PROPERTIES) for name in PROCESS_PROPERTIES]


def _property_checks() -> list[CheckConstraint]:
    texts = [
        CheckConstraint(f"octet_length({_quoted(name)}) <= {limit}", name=name) for name, limit in TEXT_LIMITS.items()
    ]
    required = [CheckConstraint(f"{name} <> ''", name=f"{name}_not_empty") for name in sorted(REQUIRED_PROPERTIES)]
    ints = [CheckConstraint(f"{name} BETWEEN {low} AND {high}", name=name) for name, (low, high) in INT_RANGES.items()]
    return texts + required + ints


def _quoted(name: str) -> str:
    return '"user"' if name == "user" else name  # the one property whose name SQL reserves


service_instance = Table(
    "service_instance",
    metadata,
    _id("id"),
    *_big("bk_biz_id", "bk_module_id", "bk_host_id"),
    # '' in a bound module (one instance per module and host); in an unbound one the name, its digest, or a clone's key.
    *_text("instance_key"),
    *_big("service_template_id"),
    *_text("name"),
    Column("labels", JSONB),
    *_text("creator", "modifier", "bk_supplier_account", "request_id"),
    *_now("create_time", "last_time"),
    UniqueConstraint("bk_module_id", "bk_host_id", "instance_key", name="uq_service_instance_natural_key"),
)

process = Table(
    "process",
    metadata,
    _id("bk_process_id"),
    Column("service_instance_id", BigInteger, ForeignKey("service_instance.id"), nullable=False),
    *_big("bk_biz_id", "bk_host_id", "process_template_id"),
    *_property_columns(),
    *_text("bk_supplier_account", "bk_created_by"),
    *_now("create_time", "last_time"),
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
    *_big("bk_host_id"),
    Column("bk_process_id", BigInteger, ForeignKey("process.bk_process_id"), nullable=False),
    *_big("template_row_id"),
    *_text("ip", "port", "protocol"),
    Column("enable", Boolean, nullable=False),
    # Its place among the rows of the process, from 0. Rows written before there was one all have 0 and stand by id.
    *_int("position", default="0"),
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
    *_text("operator", "bk_app_code", "bk_supplier_account"),
    *_big("bk_biz_id", "bk_module_id"),
    *_text("action"),
    Column("created_ids", ARRAY(BigInteger), nullable=False),
    Column("healed_ids", ARRAY(BigInteger), nullable=False),
    *_now("created_at"),
    comment="One row for each request that wrote something; ids are those of service instances.",
)

request_ledger = Table(
    "request_ledger",
    metadata,
    Column("request_id", Text, primary_key=True),
    *_text("bk_app_code"),
    *_big("bk_biz_id", "bk_module_id"),
    *_text("status"),
    *_int("code"),
    Column("report", Text),  # null once purged: the request is known, its answer is gone
    *_int("attempt"),
    Column("created_at", DateTime(timezone=True), nullable=False),
    *_now("finished_at"),
    # Of a request that is part of a job; else all four are null.
    Column("job_id", Text),
    Column("job_number", Integer),
    Column("job_is_last", Boolean),
    Column("outcomes", ARRAY(Integer)),  # instances by outcome, in the order of `contract.answer.status.Outcome`
    Index("ix_request_ledger_finished_at", "finished_at", postgresql_where=text("report IS NOT NULL")),
    Index(None, "job_id", "job_number", postgresql_where=text("job_id IS NOT NULL")),
    comment="One row for each request that has ended. Whoever inserts it first decides the outcome.",
)

service_template = Table(
    "service_template",
    metadata,
    _id("id"),
    *_big("bk_biz_id"),
    *_text("name", default=""),
    *_text("bk_supplier_account", default="0"),
    *_now("imported_at"),
)

process_template = Table(
    "process_template",
    metadata,
    _id("id"),
    *_big("bk_biz_id"),
    # No foreign key: CMDB's pages arrive in any order, and a template that is gone is an answer (1199006), not a fault.
    *_big("service_template_id"),
    *_text("bk_process_name", default=""),
    Column("property", JSONB, nullable=False),
    *_text("bk_supplier_account", default="0"),
    *_now("imported_at"),
    Index(None, "service_template_id", "id"),
)

module = Table(
    "module",
    metadata,
    _id("bk_module_id"),
    *_big("bk_biz_id"),
    *_big("bk_set_id", default="0"),
    *_text("bk_module_name", default=""),
    *_big("service_template_id", default="0"),
    *_int("default", default="0"),
    *_text("bk_supplier_account", default="0"),
    *_now("imported_at"),
)

host = Table(
    "host",
    metadata,
    _id("bk_host_id"),
    # Addresses as CMDB shows them: comma-joined text, empty when there is none.
    *_text("bk_host_innerip", "bk_host_outerip", "bk_host_innerip_v6", "bk_host_outerip_v6", default=""),
    *_big("bk_cloud_id", default="0"),
    *_text("bk_supplier_account", default="0"),
    *_now("imported_at"),
)

module_host_relation = Table(
    "module_host_relation",
    metadata,
    *_big("bk_module_id", "bk_host_id", "bk_biz_id"),
    *_big("bk_set_id", default="0"),
    PrimaryKeyConstraint("bk_module_id", "bk_host_id"),
    Index(None, "bk_host_id"),
)

catalogue_version = Table(
    "catalogue_version",
    metadata,
    Column("id", SmallInteger, primary_key=True, autoincrement=False),
    *_big("version"),
    *_now("changed_at"),
    *_big("first_id", default="1"),
    CheckConstraint("id = 1", name="one_row"),
    comment="Raised by triggers in the transaction of every change to the catalogue tables.",
)

cmdb_instance = Table(
    "cmdb_instance",
    metadata,
    _id("service_instance_id", ForeignKey("service_instance.id")),
    # Null where CMDB has it again, and a request had created it here anew: that one has CMDB's id.
    Column("cmdb_id", BigInteger),
    *_now("linked_at"),
    Column("gone_at", DateTime(timezone=True)),
    UniqueConstraint("cmdb_id"),
    comment="The service instances that CMDB has, or had (gone_at), with CMDB's id of each.",
)

cmdb_process = Table(
    "cmdb_process",
    metadata,
    _id("bk_process_id", ForeignKey("process.bk_process_id")),
    *_big("cmdb_id"),
    # What it had when it was last read: a bind row that is here and not among them was added here.
    Column("row_ids", ARRAY(BigInteger), nullable=False),
    *_now("linked_at"),
    UniqueConstraint("cmdb_id"),
    comment="The processes that CMDB has, with CMDB's id of each.",
)

cmdb_gone = Table(
    "cmdb_gone",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    *_big("service_instance_id", "bk_process_id"),
    Column("content", JSONB, nullable=False),
    *_now("gone_at"),
    Index(None, "service_instance_id"),
    comment="Processes, and bind rows alone, that CMDB had and has no more, as they were stored.",
)

cmdb_pull = Table(
    "cmdb_pull",
    metadata,
    *_big("bk_biz_id"),
    *_text("what"),
    *_now("started_at"),
    *_big("rows_read", "last_id", default="0"),
    Column("is_under_way", Boolean, nullable=False),
    Column("finished_at", DateTime(timezone=True)),
    PrimaryKeyConstraint("bk_biz_id", "what"),
    CheckConstraint("what IN ('catalogue', 'instances')", name="what"),
    comment="How far each business was read from CMDB, and when that was last done to the end.",
)

delivery = Table(
    "delivery",
    metadata,
    Column("request_id", Text, primary_key=True),
    *_big("bk_biz_id", "bk_module_id"),
    Column("instance_ids", ARRAY(BigInteger), nullable=False),
    *_text("status", default="PENDING"),
    # Of a FAILED one: what CMDB said.
    *_int("code", default="0"),
    *_text("message", default=""),
    # Begun and not ended in order: whoever carried it died.
    *_int("starts", "tries", default="0"),
    *_now("created_at", "due_at", "sent_at"),
    # What has ended is forgotten, a FAILED one kept, once its report is in Redis.
    Column("is_told", Boolean, nullable=False, server_default="false"),
    CheckConstraint("status IN ('PENDING', 'DELIVERED', 'FAILED', 'DROPPED')", name="status"),
    Index(None, "bk_module_id", "due_at"),
    comment="The outbox: requests whose rows CMDB is to have, until it has them and their callers are told.",
)

delivery_call = Table(
    "delivery_call",
    metadata,
    _id("bk_module_id"),
    *_int("piece"),
    Column("called_at", DateTime(timezone=True)),
    Column("instance_ids", ARRAY(BigInteger), nullable=False, server_default="{}"),
    # The highest of CMDB's ids that was seen before the call: what came of it is above.
    *_big("after_id", default="0"),
    comment="By module: how many instances CMDB takes at once, and the call to it whose end is not known.",
)

CATALOGUE_TABLES: Final = (service_template, process_template, module, host, module_host_relation)
"""The tables whose change raises `catalogue_version`."""
