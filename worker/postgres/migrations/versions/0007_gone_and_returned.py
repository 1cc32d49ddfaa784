"""What is gone in CMDB, created here anew and then listed by CMDB again gives CMDB's id up to the newer one."""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.alter_column("cmdb_instance", "cmdb_id", nullable=True)


def downgrade() -> None:
    op.execute("DELETE FROM cmdb_instance WHERE cmdb_id IS NULL")
    op.alter_column("cmdb_instance", "cmdb_id", nullable=False)
