"""Run a command and note which of our functions run: ``python -P one_post_profiler.py ROOT NOTES COMMAND ARGUMENT``.

For `benchmarks.one_post`, whose ``NOTES/number`` says at each moment which POST is on its way.
"""

import atexit
import json
import mmap
import runpy
import sys
import threading
from pathlib import Path
from types import CodeType, FrameType

Seen = set[tuple[int, CodeType, type | None]]


def main(root: str, notes: Path, command: list[str]) -> None:
    """Run it, noting; what is noted is written down at its end."""
    with (notes / "number").open("r+b") as file:
        number = mmap.mmap(file.fileno(), 1)
    seen: Seen = set()

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            seen.add((number[0], frame.f_code, _made(frame)))

    def keep() -> None:
        sys.setprofile(None)
        (notes / f"{command[1]}.json").write_text(json.dumps(_ours(seen, f"{root}/")))

    atexit.register(keep)
    threading.setprofile(note)
    sys.setprofile(note)
    sys.argv = command
    runpy.run_path(command[0], run_name="__main__")


def _made(frame: FrameType) -> type | None:
    """The class whose generated constructor this is, of a dataclass or a named tuple: it has no file, the class has."""
    if frame.f_code.co_filename != "<string>":
        return None
    return frame.f_locals.get("_cls") or type(frame.f_locals.get("self"))


def _ours(seen: Seen, root: str) -> list[tuple[int, str, str]]:
    places = {(number, *_place(code, made)) for number, code, made in seen}
    ours = ((number, file.removeprefix(root), name) for number, file, name in places if file.startswith(root))
    return sorted(place for place in ours if not place[1].startswith((".venv", "benchmarks/")))


def _place(code: CodeType, made: type | None) -> tuple[str, str]:
    if made is None:
        return code.co_filename, code.co_qualname
    module = sys.modules.get(made.__module__)
    return getattr(module, "__file__", None) or "", f"{made.__qualname__}.__init__"


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3:])
