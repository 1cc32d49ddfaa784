"""What is still to be handed on to CMDB, and the call to CMDB that each module waits for.

`cmdb_process.linked_at` tells a page of CMDB's that was read before a process came to CMDB from one that lacks it.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "cmdb_process",
        sa.Column("linked_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
    )
    op.create_table(
        "delivery",
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("bk_biz_id", sa.BigInteger(), nullable=False),
        sa.Column("bk_module_id", sa.BigInteger(), nullable=False),
        sa.Column("instance_ids", ARRAY(sa.BigInteger()), nullable=False),
        sa.Column("status", sa.Text(), server_default="PENDING", nullable=False),
        sa.Column("code", sa.Integer(), server_default="0", nullable=False),
        sa.Column("message", sa.Text(), server_default="", nullable=False),
        sa.Column("starts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("tries", sa.Integer(), server_default="0", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("is_told", sa.Boolean(), server_default="false", nullable=False),
        sa.CheckConstraint("status IN ('PENDING', 'DELIVERED', 'FAILED', 'DROPPED')", name=op.f("ck_delivery_status")),
        sa.PrimaryKeyConstraint("request_id", name=op.f("pk_delivery")),
        comment="The outbox: requests whose rows CMDB is to have, until it has them and their callers are told.",
    )
    op.create_index(op.f("ix_delivery_bk_module_id_due_at"), "delivery", ["bk_module_id", "due_at"])
    op.create_table(
        "delivery_call",
        sa.Column("bk_module_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("piece", sa.Integer(), nullable=False),
        sa.Column("called_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("instance_ids", ARRAY(sa.BigInteger()), server_default="{}", nullable=False),
        sa.Column("after_id", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("bk_module_id", name=op.f("pk_delivery_call")),
        comment="By module: how many instances CMDB takes at once, and the call to it whose end is not known.",
    )


def downgrade() -> None:
    op.drop_table("delivery_call")
    op.drop_table("delivery")
    op.drop_column("cmdb_process", "linked_at")
