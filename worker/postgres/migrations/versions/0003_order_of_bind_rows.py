"""The order of a process's bind rows is kept: CMDB shows them as they were sent, and names an instance by the first.

Rows that are there already stay in the order in which they were shown, by their ids. Workers of the version before go
on writing such rows until they are replaced.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("process_bind_info", sa.Column("position", sa.Integer(), server_default="0", nullable=False))


def downgrade() -> None:
    op.drop_column("process_bind_info", "position")
