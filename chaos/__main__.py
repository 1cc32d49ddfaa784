"""``python -m chaos``: the command. In a checkout only, like the benchmarks; the server's wheel does not have it."""

import secrets
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter
from cyclopts.validators import Number

from chaos.run import Plan, run_chaos

app = App(name="python -m chaos", help="Break a system of its own at random, and judge what came of it.")


@app.default
def chaos(
    *,
    minutes: Annotated[float | None, Parameter(validator=Number(gt=0))] = None,
    kills: Annotated[int | None, Parameter(validator=Number(gte=1))] = None,
    seed: int | None = None,
    report_dir: Path = Path("chaos-report"),
    workers: Annotated[int, Parameter(validator=Number(gte=1))] = 2,
    appendfsync: Literal["always", "everysec"] = "always",
    fault_every_s: Annotated[float, Parameter(validator=Number(gt=0))] = 2.0,
    per_s: Annotated[float, Parameter(validator=Number(gt=0))] = 10.0,
    cmdb: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Break a system of its own at random while callers use it, then judge: was anything lost, or done twice?

    Processes are killed and frozen, Redis loses power, PostgreSQL is killed, connections go dead, messages come twice.
    The exit code is 0 only when every accepted request has ended once and the rows are those of a plain model. Ctrl-C
    ends the faults early; the verdict follows.

    Args:
        minutes: how long; 1 unless --kills says when it is enough.
        kills: end after so many kill -9.
        seed: of what is asked for and what breaks; a random one is chosen and shown.
        report_dir: where result.json, result.svg and logs go; the servers' data too, if anything is wrong.
        workers: worker processes.
        appendfsync: of Redis. With everysec a power loss loses accepted requests, and the verdict says so.
        fault_every_s: mean time between two faults.
        per_s: requests a second while nothing is wrong.
        cmdb: deliver everything to a CMDB that fails as is reported of the real one, and is killed; and judge what it
            has in the end.
    """
    if minutes is None and kills is None:
        minutes = 1.0
    if seed is None:
        seed = secrets.randbelow(1_000_000)
    run_chaos(Plan(report_dir.absolute(), seed, minutes, kills, workers, appendfsync, fault_every_s, per_s, cmdb))


if __name__ == "__main__":
    app()
