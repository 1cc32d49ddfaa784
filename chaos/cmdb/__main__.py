"""``python -m chaos.cmdb``: the process. It may be killed at any moment and goes on from its journal."""

import logging
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter
from cyclopts.validators import Number

from chaos.cmdb.failures import MUCH
from chaos.cmdb.server import CmdbServer
from devstack import sample

app = App(
    name="python -m chaos.cmdb", help="A CMDB of our own making that answers as documented and fails as reported."
)


@app.default
def serve(
    journal: Path,
    *catalogue: Path,
    port: Annotated[int, Parameter(validator=Number(gte=0))] = 8090,
    seed: int | None = None,
    hold_s: Annotated[float, Parameter(validator=Number(gte=0))] = 0.5,
    first_id: Annotated[int, Parameter(validator=Number(gte=1))] = 1,
) -> None:
    """Serve one business on loopback until SIGTERM or Ctrl-C.

    ``POST /control`` with ``{"chances": {"half": 0.1}}`` says what goes wrong from now on, and answers what has.

    Args:
        journal: where instances are kept; made when missing.
        catalogue: files that hold CMDB's answers; without any, business 1 of the sample that comes with bksi.
        port: 0 takes a free one.
        seed: of what goes wrong; without it nothing does.
        hold_s: how long a caller waits for an answer that does not come.
        first_id: where ids of instances and processes begin.
    """
    logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(message)s")
    server = CmdbServer(journal, seed=seed or 0, hold_s=hold_s, first_id=first_id)
    server.keeps_calls = False
    server.load(catalogue or (file for file in sample.CATALOGUE if "-biz-2" not in file.name))
    server.failures.set({} if seed is None else MUCH)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with suppress(KeyboardInterrupt), server.serving(port):
        sys.stdout.write(f"{server.url}\n")
        sys.stdout.flush()
        signal.pause()


if __name__ == "__main__":
    app()
