"""All SQL of the project: tables, migrations, reads and writes."""
