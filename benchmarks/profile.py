"""A flame graph of one worker process under load: ``python -m benchmarks.profile --shape 1 --out worker.svg``.

py-spy samples the process from outside. Where the system forbids that to a plain user (``ptrace_scope``), run as root.
"""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.compare import WARM_UP, Volume
from benchmarks.peers import PEERS
from benchmarks.report import RESULTS
from benchmarks.running import Running
from benchmarks.session import open_session
from benchmarks.shapes import Shape

_FORMATS = {".svg": "flamegraph", ".json": "speedscope", ".txt": "raw"}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run bursts until py-spy has enough."""
    options = _options(arguments)
    shape = Shape.parse(options.shape)
    volume = Volume(small=4000, full=100, light_s=0, warm_up=WARM_UP)
    burst = volume.burst(shape, PEERS[options.system].share)
    with (
        open_session([shape], shape.modules_needed(burst + WARM_UP)) as session,
        Running(options.system, session) as system,
    ):
        system.warm_up(shape, 20)
        profiler = subprocess.Popen(
            [
                *(Path(sys.executable).with_name("py-spy"), "record", f"--pid={system.worker_pids[0]}"),
                *(
                    f"--duration={options.seconds}",
                    f"--rate={options.rate}",
                    f"--format={_FORMATS[options.out.suffix]}",
                ),
                *("--output", options.out, "--subprocesses"),
                *(["--native"] if options.native else []),
                *(["--gil"] if options.gil else []),
            ]
        )
        while profiler.poll() is None:
            numbers = system.burst(shape, burst)
            print(f"{numbers['requests_per_s']:,.0f} req/s while sampled", file=sys.stderr)
    if profiler.returncode:
        sys.exit(f"py-spy exited with {profiler.returncode}")
    print(options.out)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.profile", description=__doc__)
    parser.add_argument("--shape", default="1")
    parser.add_argument("--system", default="ours", choices=[name for name, peer in PEERS.items() if peer.workers])
    parser.add_argument("--seconds", type=int, default=15)
    parser.add_argument("--rate", type=int, default=200, help="samples a second")
    parser.add_argument("--native", action="store_true", help="frames of C extensions too")
    parser.add_argument("--gil", action="store_true", help="only threads that hold the GIL: work, and no waiting")
    default = RESULTS / f"{datetime.now(tz=UTC):%Y-%m-%dT%H%M%S}-flame.svg"
    parser.add_argument("--out", type=Path, default=default, help=".svg, .json (speedscope) or .txt (folded stacks)")
    options = parser.parse_args(arguments)
    if options.out.suffix not in _FORMATS:
        parser.error(f"--out must end in {', '.join(_FORMATS)}")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    return options


if __name__ == "__main__":
    main()
