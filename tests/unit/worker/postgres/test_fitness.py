"""The revisions that a worker knows are alembic's, which it does not load to know them."""

from alembic.script import ScriptDirectory

from worker.postgres.fitness import known_revisions
from worker.postgres.migrate import alembic_config


def test_they_are_those_that_alembic_walks() -> None:
    scripts = ScriptDirectory.from_config(alembic_config())
    assert known_revisions() == tuple(script.revision for script in scripts.walk_revisions())
