"""The reader's command."""

from contextlib import suppress
from importlib.util import find_spec
from typing import Annotated, Final

from cyclopts import App, Parameter

# The database driver tells that the worker's extra is installed, the web framework the submitter's.
for _library, _extra in (("asyncpg", "worker"), ("fastapi", "shim")):
    if find_spec(_library) is None:
        raise ModuleNotFoundError(f"bksi read needs the extra: pip install 'bksi[{_extra}]'", name=_library)

app: Final = App(name="reader", help="Reading back.")


@app.command
def read(*, share_port: Annotated[bool, Parameter(negative=())] = False) -> None:
    """Serve what was created on BKSI_HTTP_HOST and BKSI_READ_PORT, from BKSI_READ_DSN, until it is told to stop.

    Args:
        share_port: As of `bksi serve`.
    """
    from plumbing.collector import without_collections  # noqa: PLC0415 - `bksi` and its help stay quick

    with without_collections():
        import asyncio  # noqa: PLC0415 - same

        from api_shim.http import server  # noqa: PLC0415 - same
        from contract.settings import load_settings  # noqa: PLC0415 - same
        from plumbing.logs import configure_logging, give_up  # noqa: PLC0415 - same
        from plumbing.toml_file import TomlFileInvalid  # noqa: PLC0415 - same
        from plumbing.urls import without_secrets  # noqa: PLC0415 - same
        from reader.app import create_app, require_suitable_database  # noqa: PLC0415 - same
        from worker.postgres.errors import DatabaseError, DatabaseUnsuitable  # noqa: PLC0415 - same

    settings = load_settings()
    configure_logging(settings.log_level, settings.log_format)
    dsn = settings.read_dsn
    if dsn is None:
        give_up("bksi read: BKSI_READ_DSN is not set: the database, or a replica, and a role that may only read")
    try:
        app = create_app(settings, dsn)
        with suppress(DatabaseError):  # one that is away is waited for
            try:
                asyncio.run(require_suitable_database(settings, dsn))
            except DatabaseUnsuitable as error:
                give_up(f"bksi read: BKSI_READ_DSN ({without_secrets(dsn)}): {error}")
        server.run(
            server.serve_app(app, settings.model_copy(update={"http_port": settings.read_port}), share_port=share_port)
        )
    except (TomlFileInvalid, ValueError, server.CannotServe) as error:
        give_up(f"bksi read: {error}")
