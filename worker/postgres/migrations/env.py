"""Alembic's entry: runs on the connection that `worker.postgres.migrate` hands over, which holds the advisory lock."""

from alembic import context

from worker.postgres import cmdb_tables, tables  # noqa: F401 - the first adds its own to those of the second

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=tables.metadata,
    transaction_per_migration=True,
)
with context.begin_transaction():
    context.run_migrations()
