"""The ledger says which job an ended request was part of, so that PostgreSQL can give back what Redis has forgotten.

The columns are null for requests of no job, and so for all that ended before; the index leaves those out.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

INDEX = "ix_request_ledger_job_id_job_number"


def upgrade() -> None:
    op.add_column("request_ledger", sa.Column("job_id", sa.Text()))
    op.add_column("request_ledger", sa.Column("job_number", sa.Integer()))
    op.add_column("request_ledger", sa.Column("job_is_last", sa.Boolean()))
    op.add_column("request_ledger", sa.Column("outcomes", ARRAY(sa.Integer())))
    op.create_index(INDEX, "request_ledger", ["job_id", "job_number"], postgresql_where=sa.text("job_id IS NOT NULL"))


def downgrade() -> None:
    op.drop_index(INDEX, table_name="request_ledger")
    for column in ("outcomes", "job_is_last", "job_number", "job_id"):
        op.drop_column("request_ledger", column)
