"""``python -m chaos``: the command. In a checkout only, like the benchmarks; the server's wheel does not have it."""

from dataclasses import replace
from typing import Final

from cyclopts import App

from chaos.run import Options, run_chaos

app = App(name="python -m chaos", help="Break a system of its own at random, and judge what came of it.")
_DEFAULTS: Final = Options()


@app.default
def chaos(*, options: Options = _DEFAULTS) -> None:
    """Break a system of its own at random while callers use it, then judge: was anything lost, or done twice?

    Processes are killed and frozen, Redis loses power, PostgreSQL is killed, connections go dead, messages come twice.
    The exit code is 0 only when every accepted request has ended once and the rows are those of a plain model. Ctrl-C
    ends the faults early; the verdict follows.
    """
    minutes = 1.0 if options.minutes is None and options.kills is None else options.minutes
    run_chaos(replace(options, minutes=minutes, report_dir=options.report_dir.absolute()))


if __name__ == "__main__":
    app()
