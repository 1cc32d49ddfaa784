"""What CMDB has of our service instances and processes, what it had, and how far each business was read from it."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("catalogue_version", sa.Column("first_id", sa.BigInteger(), server_default="1", nullable=False))
    op.create_table(
        "cmdb_instance",
        sa.Column("service_instance_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("cmdb_id", sa.BigInteger(), nullable=False),
        sa.Column("linked_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("gone_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["service_instance_id"], ["service_instance.id"], name=op.f("fk_cmdb_instance_service_instance_id")
        ),
        sa.PrimaryKeyConstraint("service_instance_id", name=op.f("pk_cmdb_instance")),
        sa.UniqueConstraint("cmdb_id", name=op.f("uq_cmdb_instance_cmdb_id")),
        comment="The service instances that CMDB has, or had (gone_at), with CMDB's id of each.",
    )
    op.create_table(
        "cmdb_process",
        sa.Column("bk_process_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("cmdb_id", sa.BigInteger(), nullable=False),
        sa.Column("row_ids", postgresql.ARRAY(sa.BigInteger()), nullable=False),
        sa.ForeignKeyConstraint(
            ["bk_process_id"], ["process.bk_process_id"], name=op.f("fk_cmdb_process_bk_process_id")
        ),
        sa.PrimaryKeyConstraint("bk_process_id", name=op.f("pk_cmdb_process")),
        sa.UniqueConstraint("cmdb_id", name=op.f("uq_cmdb_process_cmdb_id")),
        comment="The processes that CMDB has, with CMDB's id of each.",
    )
    op.create_table(
        "cmdb_gone",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("service_instance_id", sa.BigInteger(), nullable=False),
        sa.Column("bk_process_id", sa.BigInteger(), nullable=False),
        sa.Column("content", postgresql.JSONB(), nullable=False),
        sa.Column("gone_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cmdb_gone")),
        comment="Processes, and bind rows alone, that CMDB had and has no more, as they were stored.",
    )
    op.create_index(op.f("ix_cmdb_gone_service_instance_id"), "cmdb_gone", ["service_instance_id"])
    op.create_table(
        "cmdb_pull",
        sa.Column("bk_biz_id", sa.BigInteger(), nullable=False),
        sa.Column("what", sa.Text(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("rows_read", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("last_id", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("is_under_way", sa.Boolean(), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("what IN ('catalogue', 'instances')", name=op.f("ck_cmdb_pull_what")),
        sa.PrimaryKeyConstraint("bk_biz_id", "what", name=op.f("pk_cmdb_pull")),
        comment="How far each business was read from CMDB, and when that was last done to the end.",
    )


def downgrade() -> None:
    for table in ("cmdb_pull", "cmdb_gone", "cmdb_process", "cmdb_instance"):
        op.drop_table(table)
    op.drop_column("catalogue_version", "first_id")
