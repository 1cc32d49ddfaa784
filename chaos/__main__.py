"""``python -m chaos``: the command. In a checkout only, like the benchmarks; the server's wheel does not have it."""

from dataclasses import replace
from typing import Final

from cyclopts import App

from chaos.run import Plan, run_chaos

app = App(name="python -m chaos", help="Break a system of its own at random, and judge what came of it.")
_PLAN: Final = Plan()


@app.default
def chaos(*, plan: Plan = _PLAN) -> None:
    """Break a system of its own at random while callers use it, then judge: was anything lost, or done twice?

    Processes are killed and frozen, Redis loses power, PostgreSQL is killed, connections go dead, messages come twice.
    The exit code is 0 only when every accepted request has ended once and the rows are those of a plain model. Ctrl-C
    ends the faults early; the verdict follows.
    """
    minutes = 1.0 if plan.minutes is None and plan.kills is None else plan.minutes
    run_chaos(replace(plan, minutes=minutes, report_dir=plan.report_dir.absolute()))


if __name__ == "__main__":
    app()
