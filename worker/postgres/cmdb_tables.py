"""The tables of what CMDB has, and of what it is still to have: the catalogue, its ids beside ours, the outbox."""

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.dialects.postgresql import JSONB

from worker.postgres.tables import bigints, id_lists, integers, key, metadata, moments, texts

service_template = Table(
    "service_template",
    metadata,
    key("id"),
    *bigints("bk_biz_id"),
    *texts("name", default=""),
    *texts("bk_supplier_account", default="0"),
    *moments("imported_at"),
)

process_template = Table(
    "process_template",
    metadata,
    key("id"),
    *bigints("bk_biz_id"),
    # No foreign key: CMDB's pages arrive in any order, and a template that is gone is an answer (1199006), not a fault.
    *bigints("service_template_id"),
    *texts("bk_process_name", default=""),
    Column("property", JSONB, nullable=False),
    *texts("bk_supplier_account", default="0"),
    *moments("imported_at"),
    Index(None, "service_template_id", "id"),
)

module = Table(
    "module",
    metadata,
    key("bk_module_id"),
    *bigints("bk_biz_id"),
    *bigints("bk_set_id", default="0"),
    *texts("bk_module_name", default=""),
    *bigints("service_template_id", default="0"),
    *integers("default", default="0"),
    *texts("bk_supplier_account", default="0"),
    *moments("imported_at"),
)

host = Table(
    "host",
    metadata,
    key("bk_host_id"),
    # Addresses as CMDB shows them: comma-joined text, empty when there is none.
    *texts("bk_host_innerip", "bk_host_outerip", "bk_host_innerip_v6", "bk_host_outerip_v6", default=""),
    *bigints("bk_cloud_id", default="0"),
    *texts("bk_supplier_account", default="0"),
    *moments("imported_at"),
)

module_host_relation = Table(
    "module_host_relation",
    metadata,
    *bigints("bk_module_id", "bk_host_id", "bk_biz_id"),
    *bigints("bk_set_id", default="0"),
    PrimaryKeyConstraint("bk_module_id", "bk_host_id"),
    Index(None, "bk_host_id"),
)

catalogue_version = Table(
    "catalogue_version",
    metadata,
    Column("id", SmallInteger, primary_key=True, autoincrement=False),
    *bigints("version"),
    *moments("changed_at"),
    *bigints("first_id", default="1"),
    CheckConstraint("id = 1", name="one_row"),
    comment="Raised by triggers in the transaction of every change to the catalogue tables.",
)

cmdb_instance = Table(
    "cmdb_instance",
    metadata,
    key("service_instance_id", ForeignKey("service_instance.id")),
    # Null where CMDB has it again, and a request had created it here anew: that one has CMDB's id.
    Column("cmdb_id", BigInteger),
    *moments("linked_at"),
    Column("gone_at", DateTime(timezone=True)),
    UniqueConstraint("cmdb_id"),
    comment="The service instances that CMDB has, or had (gone_at), with CMDB's id of each.",
)

cmdb_process = Table(
    "cmdb_process",
    metadata,
    key("bk_process_id", ForeignKey("process.bk_process_id")),
    *bigints("cmdb_id"),
    # What it had when it was last read: a bind row that is here and not among them was added here.
    *id_lists("row_ids"),
    *moments("linked_at"),
    UniqueConstraint("cmdb_id"),
    comment="The processes that CMDB has, with CMDB's id of each.",
)

cmdb_gone = Table(
    "cmdb_gone",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    *bigints("service_instance_id", "bk_process_id"),
    Column("content", JSONB, nullable=False),
    *moments("gone_at"),
    Index(None, "service_instance_id"),
    comment="Processes, and bind rows alone, that CMDB had and has no more, as they were stored.",
)

cmdb_pull = Table(
    "cmdb_pull",
    metadata,
    *bigints("bk_biz_id"),
    *texts("what"),
    *moments("started_at"),
    *bigints("rows_read", "last_id", default="0"),
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
    *bigints("bk_biz_id", "bk_module_id"),
    *id_lists("instance_ids"),
    *texts("status", default="PENDING"),
    # Of a FAILED one: what CMDB said.
    *integers("code", default="0"),
    *texts("message", default=""),
    # Begun and not ended in order: whoever carried it died.
    *integers("starts", "tries", default="0"),
    *moments("created_at", "due_at", "sent_at"),
    # What has ended is forgotten, a FAILED one kept, once its report is in Redis.
    Column("is_told", Boolean, nullable=False, server_default="false"),
    CheckConstraint("status IN ('PENDING', 'DELIVERED', 'FAILED', 'DROPPED')", name="status"),
    Index(None, "bk_module_id", "due_at"),
    comment="The outbox: requests whose rows CMDB is to have, until it has them and their callers are told.",
)

delivery_call = Table(
    "delivery_call",
    metadata,
    key("bk_module_id"),
    *integers("piece"),
    Column("called_at", DateTime(timezone=True)),
    *id_lists("instance_ids", default="{}"),
    # The highest of CMDB's ids that was seen before the call: what came of it is above.
    *bigints("after_id", default="0"),
    comment="By module: how many instances CMDB takes at once, and the call to it whose end is not known.",
)

CATALOGUE_TABLES: Final = (service_template, process_template, module, host, module_host_relation)
"""The tables whose change raises `catalogue_version`."""
