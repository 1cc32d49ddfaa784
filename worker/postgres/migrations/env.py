"""Alembic's entry: runs on the connection that `worker.postgres.migrate` hands over, which holds the advisory lock."""

from alembic import context

from worker.postgres.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transaction_per_migration=True,
)
with context.begin_transaction():
    context.run_migrations()
