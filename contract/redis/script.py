"""Redis scripts: Lua in a file beside its user, its keys and arguments by name.

Each is atomic and safe to repeat, because a client repeats a call whose answer got lost.
"""

from pathlib import Path
from typing import Final, Self

CLOCK: Final = "contract/redis/parts/clock.lua"
FOLLOWING: Final = "contract/redis/parts/following.lua"
COUNT_RUNNING: Final = "contract/redis/parts/count_running.lua"
_ROOT: Final = Path(__file__).parents[2]


class Script(str):
    """The text of one script, as Redis takes it.

    ``#!lua flags=allow-oom``, where a file begins with it: a full Redis must let its queue be emptied, and ending a
    request frees more than it takes.

    Args:
        file: with its package's folders, ``contract/redis/submit.lua``.
        keys: their names in Lua, separated by blanks. A last one with ``…`` is the place of the first of many.
        args: the same of the arguments.
        parts: of `contract/redis/parts` and of the like, whose functions the file calls.
    """

    __slots__ = ()

    def __new__(cls, file: str, *, keys: str, args: str = "", parts: tuple[str, ...] = ()) -> Self:
        """Put it together."""
        flags, text = _read(file)
        names = _named("KEYS", keys.split()) | _named("ARGV", args.split())
        local = f"local {', '.join(names)} = {', '.join(names.values())}\n"
        return super().__new__(cls, "".join([flags, *(_read(part)[1] for part in parts), local, text]))


def _read(file: str) -> tuple[str, str]:
    text = (_ROOT / file).read_text(encoding="utf-8")
    flags = text[: text.index("\n") + 1] if text.startswith("#!") else ""
    return flags, text[len(flags) :]


def _named(table: str, names: list[str]) -> dict[str, str]:
    return {
        name.rstrip("…"): str(place) if name.endswith("…") else f"{table}[{place}]"
        for place, name in enumerate(names, start=1)
    }
