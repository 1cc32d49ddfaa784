"""The key of bind rows begins with the process: new rows then go to the end of its index, whatever their hosts are.

The table is locked while the index is made, about a second for a million bind rows; workers wait and try again.
"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

BEFORE = ("bk_host_id", "bk_process_id", "template_row_id")
AFTER = ("bk_process_id", "template_row_id", "bk_host_id")


def upgrade() -> None:
    _order_key(AFTER)


def downgrade() -> None:
    _order_key(BEFORE)


def _order_key(columns: tuple[str, ...]) -> None:
    op.execute(
        "ALTER TABLE process_bind_info DROP CONSTRAINT pk_process_bind_info,"
        f" ADD CONSTRAINT pk_process_bind_info PRIMARY KEY ({', '.join(columns)})"
    )
