"""The first schema: service instances, their processes and bind rows, the ledger, the audit log, the catalogue.

Its number is that of the last step that it was made of, so that a database that has taken them goes on from here.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = None
branch_labels = None
depends_on = None

ID_BLOCK = 1000
CATALOGUE_TABLES = ("service_template", "process_template", "module", "host", "module_host_relation")

# A statement that changed no row does not raise the version, so that an import that finds nothing new costs the
# workers' caches nothing.
RAISE_VERSION = """
CREATE FUNCTION raise_catalogue_version() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        UPDATE catalogue_version SET version = version + 1, changed_at = now();
    ELSIF EXISTS (SELECT FROM changed_rows) THEN
        UPDATE catalogue_version SET version = version + 1, changed_at = now();
    END IF;
    RETURN NULL;
END $$
"""


def upgrade() -> None:
    op.execute(f"CREATE SEQUENCE service_instance_id_block INCREMENT BY {ID_BLOCK}")
    op.execute(f"CREATE SEQUENCE bk_process_id_block INCREMENT BY {ID_BLOCK}")
    op.create_table(
        "audit_log",
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("operator", sa.Text(), nullable=False),
        sa.Column("bk_app_code", sa.Text(), nullable=False),
        sa.Column("bk_supplier_account", sa.Text(), nullable=False),
        sa.Column("bk_biz_id", sa.BigInteger(), nullable=False),
        sa.Column("bk_module_id", sa.BigInteger(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("created_ids", postgresql.ARRAY(sa.BigInteger()), nullable=False),
        sa.Column("healed_ids", postgresql.ARRAY(sa.BigInteger()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("request_id", name=op.f("pk_audit_log")),
        comment="One row for each request that wrote something; ids are those of service instances.",
    )
    op.create_table(
        "catalogue_version",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_catalogue_version_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_catalogue_version")),
        comment="Raised by triggers in the transaction of every change to the catalogue tables.",
    )
    op.create_table(
        "host",
        sa.Column("bk_host_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("bk_host_innerip", sa.Text(), server_default="", nullable=False),
        sa.Column("bk_host_outerip", sa.Text(), server_default="", nullable=False),
        sa.Column("bk_host_innerip_v6", sa.Text(), server_default="", nullable=False),
        sa.Column("bk_host_outerip_v6", sa.Text(), server_default="", nullable=False),
        sa.Column("bk_cloud_id", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("bk_supplier_account", sa.Text(), server_default="0", nullable=False),
        sa.Column("imported_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("bk_host_id", name=op.f("pk_host")),
    )
    op.create_table(
        "module",
        sa.Column("bk_module_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("bk_biz_id", sa.BigInteger(), nullable=False),
        sa.Column("bk_set_id", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("bk_module_name", sa.Text(), server_default="", nullable=False),
        sa.Column("service_template_id", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("default", sa.Integer(), server_default="0", nullable=False),
        sa.Column("bk_supplier_account", sa.Text(), server_default="0", nullable=False),
        sa.Column("imported_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("bk_module_id", name=op.f("pk_module")),
    )
    op.create_table(
        "module_host_relation",
        sa.Column("bk_module_id", sa.BigInteger(), nullable=False),
        sa.Column("bk_host_id", sa.BigInteger(), nullable=False),
        sa.Column("bk_biz_id", sa.BigInteger(), nullable=False),
        sa.Column("bk_set_id", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("bk_module_id", "bk_host_id", name=op.f("pk_module_host_relation")),
    )
    op.create_index(op.f("ix_module_host_relation_bk_host_id"), "module_host_relation", ["bk_host_id"], unique=False)
    op.create_table(
        "process_template",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("bk_biz_id", sa.BigInteger(), nullable=False),
        sa.Column("service_template_id", sa.BigInteger(), nullable=False),
        sa.Column("bk_process_name", sa.Text(), server_default="", nullable=False),
        sa.Column("property", postgresql.JSONB(), nullable=False),
        sa.Column("bk_supplier_account", sa.Text(), server_default="0", nullable=False),
        sa.Column("imported_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_process_template")),
    )
    op.create_index(
        op.f("ix_process_template_service_template_id_id"),
        "process_template",
        ["service_template_id", "id"],
        unique=False,
    )
    op.create_table(
        "request_ledger",
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("bk_app_code", sa.Text(), nullable=False),
        sa.Column("bk_biz_id", sa.BigInteger(), nullable=False),
        sa.Column("bk_module_id", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("code", sa.Integer(), nullable=False),
        sa.Column("report", sa.Text(), nullable=True),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("request_id", name=op.f("pk_request_ledger")),
        comment="One row for each request that has ended. Whoever inserts it first decides the outcome.",
    )
    op.create_index(
        "ix_request_ledger_finished_at",
        "request_ledger",
        ["finished_at"],
        unique=False,
        postgresql_where=sa.text("report IS NOT NULL"),
    )
    op.create_table(
        "service_instance",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("bk_biz_id", sa.BigInteger(), nullable=False),
        sa.Column("bk_module_id", sa.BigInteger(), nullable=False),
        sa.Column("bk_host_id", sa.BigInteger(), nullable=False),
        sa.Column("instance_key", sa.Text(), nullable=False),
        sa.Column("service_template_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("labels", postgresql.JSONB(), nullable=True),
        sa.Column("creator", sa.Text(), nullable=False),
        sa.Column("modifier", sa.Text(), nullable=False),
        sa.Column("bk_supplier_account", sa.Text(), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("create_time", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("last_time", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_service_instance")),
        sa.UniqueConstraint("bk_module_id", "bk_host_id", "instance_key", name="uq_service_instance_natural_key"),
    )
    op.create_table(
        "service_template",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("bk_biz_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.Text(), server_default="", nullable=False),
        sa.Column("bk_supplier_account", sa.Text(), server_default="0", nullable=False),
        sa.Column("imported_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_service_template")),
    )
    op.create_table(
        "process",
        sa.Column("bk_process_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("service_instance_id", sa.BigInteger(), nullable=False),
        sa.Column("bk_biz_id", sa.BigInteger(), nullable=False),
        sa.Column("bk_host_id", sa.BigInteger(), nullable=False),
        sa.Column("process_template_id", sa.BigInteger(), nullable=False),
        sa.Column("bk_process_name", sa.Text(), nullable=False),
        sa.Column("bk_func_name", sa.Text(), nullable=False),
        sa.Column("bk_start_param_regex", sa.Text(), nullable=True),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("work_path", sa.Text(), nullable=True),
        sa.Column("user", sa.Text(), nullable=True),
        sa.Column("start_cmd", sa.Text(), nullable=True),
        sa.Column("stop_cmd", sa.Text(), nullable=True),
        sa.Column("restart_cmd", sa.Text(), nullable=True),
        sa.Column("face_stop_cmd", sa.Text(), nullable=True),
        sa.Column("reload_cmd", sa.Text(), nullable=True),
        sa.Column("pid_file", sa.Text(), nullable=True),
        sa.Column("bk_func_id", sa.Text(), nullable=True),
        sa.Column("auto_start", sa.Boolean(), nullable=True),
        sa.Column("proc_num", sa.Integer(), nullable=True),
        sa.Column("timeout", sa.Integer(), nullable=True),
        sa.Column("priority", sa.Integer(), nullable=True),
        sa.Column("bk_start_check_secs", sa.Integer(), nullable=True),
        sa.Column("auto_time_gap", sa.Integer(), nullable=True),
        sa.Column("bk_supplier_account", sa.Text(), nullable=False),
        sa.Column("bk_created_by", sa.Text(), nullable=False),
        sa.Column("create_time", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("last_time", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("bk_func_name <> ''", name=op.f("ck_process_bk_func_name_not_empty")),
        sa.CheckConstraint("bk_process_name <> ''", name=op.f("ck_process_bk_process_name_not_empty")),
        sa.CheckConstraint("auto_time_gap BETWEEN 1 AND 10000", name=op.f("ck_process_auto_time_gap")),
        sa.CheckConstraint("bk_start_check_secs BETWEEN 0 AND 600", name=op.f("ck_process_bk_start_check_secs")),
        sa.CheckConstraint('octet_length("user") <= 256', name=op.f("ck_process_user")),
        sa.CheckConstraint("octet_length(bk_func_id) <= 256", name=op.f("ck_process_bk_func_id")),
        sa.CheckConstraint("octet_length(bk_func_name) <= 256", name=op.f("ck_process_bk_func_name")),
        sa.CheckConstraint("octet_length(bk_process_name) <= 256", name=op.f("ck_process_bk_process_name")),
        sa.CheckConstraint("octet_length(bk_start_param_regex) <= 2000", name=op.f("ck_process_bk_start_param_regex")),
        sa.CheckConstraint("octet_length(description) <= 256", name=op.f("ck_process_description")),
        sa.CheckConstraint("octet_length(face_stop_cmd) <= 2000", name=op.f("ck_process_face_stop_cmd")),
        sa.CheckConstraint("octet_length(pid_file) <= 2000", name=op.f("ck_process_pid_file")),
        sa.CheckConstraint("octet_length(reload_cmd) <= 2000", name=op.f("ck_process_reload_cmd")),
        sa.CheckConstraint("octet_length(restart_cmd) <= 2000", name=op.f("ck_process_restart_cmd")),
        sa.CheckConstraint("octet_length(start_cmd) <= 2000", name=op.f("ck_process_start_cmd")),
        sa.CheckConstraint("octet_length(stop_cmd) <= 2000", name=op.f("ck_process_stop_cmd")),
        sa.CheckConstraint("octet_length(work_path) <= 2000", name=op.f("ck_process_work_path")),
        sa.CheckConstraint("priority BETWEEN -100 AND 10000", name=op.f("ck_process_priority")),
        sa.CheckConstraint("proc_num BETWEEN 1 AND 10000", name=op.f("ck_process_proc_num")),
        sa.CheckConstraint("timeout BETWEEN 1 AND 10000", name=op.f("ck_process_timeout")),
        sa.ForeignKeyConstraint(
            ["service_instance_id"], ["service_instance.id"], name=op.f("fk_process_service_instance_id")
        ),
        sa.PrimaryKeyConstraint("bk_process_id", name=op.f("pk_process")),
        sa.UniqueConstraint(
            "service_instance_id", "bk_func_name", "bk_start_param_regex", name="uq_process_func_name_start_regex"
        ),
        sa.UniqueConstraint("service_instance_id", "bk_process_name", name="uq_process_bk_process_name"),
    )
    op.create_index(
        "uq_process_process_template_id",
        "process",
        ["service_instance_id", "process_template_id"],
        unique=True,
        postgresql_where=sa.text("process_template_id > 0"),
    )
    op.create_table(
        "process_bind_info",
        sa.Column("bk_host_id", sa.BigInteger(), nullable=False),
        sa.Column("bk_process_id", sa.BigInteger(), nullable=False),
        sa.Column("template_row_id", sa.BigInteger(), nullable=False),
        sa.Column("ip", sa.Text(), nullable=False),
        sa.Column("port", sa.Text(), nullable=False),
        sa.Column("protocol", sa.Text(), nullable=False),
        sa.Column("enable", sa.Boolean(), nullable=False),
        sa.CheckConstraint("protocol IN ('1', '2', '3', '4')", name=op.f("ck_process_bind_info_protocol")),
        sa.CheckConstraint("octet_length(ip) <= 45", name=op.f("ck_process_bind_info_ip")),
        sa.CheckConstraint("octet_length(port) BETWEEN 1 AND 11", name=op.f("ck_process_bind_info_port")),
        sa.ForeignKeyConstraint(
            ["bk_process_id"], ["process.bk_process_id"], name=op.f("fk_process_bind_info_bk_process_id")
        ),
        sa.PrimaryKeyConstraint("bk_process_id", "template_row_id", "bk_host_id", name=op.f("pk_process_bind_info")),
    )
    op.execute(
        "CREATE VIEW process_instance_relation AS"
        " SELECT bk_biz_id, bk_process_id, service_instance_id, process_template_id, bk_host_id, bk_supplier_account"
        " FROM process",
    )
    op.execute("INSERT INTO catalogue_version (id, version) VALUES (1, 1)")
    op.execute(RAISE_VERSION)
    for table in CATALOGUE_TABLES:
        for event, rows in (("INSERT", "NEW"), ("UPDATE", "NEW"), ("DELETE", "OLD")):
            op.execute(
                f"CREATE TRIGGER raise_catalogue_version_on_{event.lower()} AFTER {event} ON {table}"
                f" REFERENCING {rows} TABLE AS changed_rows"
                " FOR EACH STATEMENT EXECUTE FUNCTION raise_catalogue_version()",
            )
        op.execute(
            f"CREATE TRIGGER raise_catalogue_version_on_truncate AFTER TRUNCATE ON {table}"
            " FOR EACH STATEMENT EXECUTE FUNCTION raise_catalogue_version()",
        )


def downgrade() -> None:
    op.execute("DROP VIEW process_instance_relation")

    op.drop_table("process_bind_info")
    op.drop_index(
        "uq_process_process_template_id", table_name="process", postgresql_where=sa.text("process_template_id > 0")
    )
    op.drop_table("process")
    op.drop_table("service_template")
    op.drop_table("service_instance")
    op.drop_index(
        "ix_request_ledger_finished_at", table_name="request_ledger", postgresql_where=sa.text("report IS NOT NULL")
    )
    op.drop_table("request_ledger")
    op.drop_index(op.f("ix_process_template_service_template_id_id"), table_name="process_template")
    op.drop_table("process_template")
    op.drop_index(op.f("ix_module_host_relation_bk_host_id"), table_name="module_host_relation")
    op.drop_table("module_host_relation")
    op.drop_table("module")
    op.drop_table("host")
    op.drop_table("catalogue_version")
    op.drop_table("audit_log")
    op.execute("DROP FUNCTION raise_catalogue_version")
    op.execute("DROP SEQUENCE bk_process_id_block")
    op.execute("DROP SEQUENCE service_instance_id_block")
