"""The files and classes of ours that one small POST passes: ``python -m benchmarks.one_post``.

A submitter and a worker run with a profiler that notes which functions run. What ran in at least half of twenty POSTs
that came one by one is on the way of one, from its bytes through the queue to its envelope and to the end of its
message. What ran in fewer is a tick of the background (the reaper, heartbeats, leases that are extended) or happens
once (a cache is filled), and is left out. What ran before the first POST, imports among it, is counted apart.

A file counts when a function in it runs; a class, when a method of it does, or the constructor that was generated for
it. A model that pydantic alone makes goes unseen.
"""

import argparse
import asyncio
import json
import mmap
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.http import HttpClient
from benchmarks.session import ROOT, Session, open_session
from benchmarks.shapes import Shape
from devstack.process import Process

WARM_UP = 5
POSTS = 20
PAUSE_S = 0.3
"""After each envelope: by then the message is acknowledged."""

Place = tuple[str, str]
"""File and qualified name of a function."""


def main() -> None:
    """Print the files that one POST passes in each process, the classes behind their names, and the sums."""
    argparse.ArgumentParser(prog="python -m benchmarks.one_post", description=__doc__).parse_args()
    shape = Shape.parse("1d")
    with open_session([shape], modules=1) as session:
        with _processes(session) as number:
            asyncio.run(_post(shape, session.http_port, number))
        noted = {path.stem: json.loads(path.read_text()) for path in sorted(session.directory.glob("notes/*.json"))}
    passed: set[Place] = set()
    for process, calls in noted.items():
        before, way = {(file, name) for number, file, name in calls if number == 0}, _on_the_way(calls)
        print(f"{process}: {_sums(before)} before the first POST, {_sums(way)} for one")
        for file in sorted({file for file, _ in way}):
            print("  ", file, *sorted(_classes(way, file)))
        passed |= way
    print(f"one POST passes {_sums(passed)}")


@contextmanager
def _processes(session: Session) -> Iterator[mmap.mmap]:
    """Run a worker and a submitter; what is given holds the number of the POST that is on its way."""
    notes = session.directory / "notes"
    notes.mkdir()
    (notes / "number").write_bytes(b"\0")
    with (notes / "number").open("r+b") as file:
        number = mmap.mmap(file.fileno(), 1)
    with _started("worker", session, notes), _started("serve", session, notes):
        yield number


def _started(command: str, session: Session, notes: Path) -> Process:
    # -P: this folder has an `http` of its own.
    profiled = [sys.executable, "-P", Path(__file__).with_name("one_post_profiler.py"), ROOT, notes]
    environment = session.environment("durable") | {"BKSI_HTTP_PORT": str(session.http_port)}
    argv = [str(part) for part in (*profiled, Path(sys.executable).with_name("bksi"), command)]
    return Process(command, argv, log=session.directory / f"{command}.log", guard=session.guard, env=environment)


async def _post(shape: Shape, port: int, number: mmap.mmap) -> None:
    async with HttpClient(port) as client:
        await client.wait_until_up()
        for count in range(WARM_UP + POSTS):
            number[0] = max(count - WARM_UP + 1, 0)
            body = json.dumps(json.loads(shape.body(count, 1)) | {"bk_app_code": "benchmark"}).encode()
            status, answer = await client.post("/api/c/compapi/v2/cc/create_service_instance/", body)
            if status != 200 or not json.loads(answer)["result"]:
                sys.exit(f"{status} {answer.decode()}")
            await asyncio.sleep(PAUSE_S)
        number[0] = 0


def _on_the_way(calls: Iterable[tuple[int, str, str]]) -> set[Place]:
    times = Counter((file, name) for number, file, name in calls if number)
    return {place for place, count in times.items() if count * 2 >= POSTS}


def _sums(places: set[Place]) -> str:
    files = {file for file, _ in places}
    return f"{len(files)} files and {sum(len(_classes(places, file)) for file in files)} classes"


def _classes(places: set[Place], file: str) -> set[str]:
    """Those of a file: in front of a method's name, and of whatever is defined inside a method."""
    outer = [name.partition(".<locals>")[0] for its_file, name in places if its_file == file]
    return {name.rpartition(".")[0] for name in outer} - {""}


if __name__ == "__main__":
    main()
