"""One question to a PostgreSQL, for whoever looks at a system from outside."""

import asyncpg


async def fetch(dsn: str, statement: str, *arguments: object) -> list[asyncpg.Record]:
    """The rows of one statement, over a connection of its own."""
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetch(statement, *arguments)
    finally:
        await connection.close()
