"""Write docs/settings.md from `contract.settings`, where each setting is documented.

python -m docs.settings_page          # write the page
python -m docs.settings_page --check  # exit 1 when it is out of date
"""

import ast
import inspect
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic.fields import FieldInfo

from contract import settings
from contract.settings import PREFIX, Settings
from docs.generated_page import write_or_check

PAGE = Path(__file__).with_name("settings.md")
HEAD = """\
# Settings

Made from `contract/settings.py` by `python -m docs.settings_page`; a test fails when they disagree.

Every process reads its environment once, at start. Give all of them the same; only workers need `BKSI_POSTGRES_DSN`.
Units are in the names: `_S` seconds, `_MS` milliseconds, `_DAYS` days. A value that cannot be used ends the process
with one line that names the variable. `bksi doctor` names variables that nobody reads, and settings that contradict
each other. Containers of `docker-compose.yml` are given whatever of this stands in `.env`.

| variable | default | range | what it is |
|---|---|---|---|
"""
_SIGNS = ((Ge, "ge", "≥"), (Gt, "gt", ">"), (Le, "le", "≤"), (Lt, "lt", "<"))


def render() -> str:
    """The page."""
    said = _docstrings()
    return HEAD + "".join(_row(name, field, said.get(name, "")) for name, field in Settings.model_fields.items())


def _row(name: str, field: FieldInfo, said: str) -> str:
    default = "not set" if field.default in (None, "", ()) else f"`{_plain(field.default)}`"
    cells = (f"`{PREFIX}{name.upper()}`", default, _range(field), said.replace("``", "`").replace("`None`", "not set"))
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |\n"


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _range(field: FieldInfo) -> str:
    limits = [
        f"{sign} {getattr(rule, attribute)}"
        for rule in field.metadata
        for kind, attribute, sign in _SIGNS
        if isinstance(rule, kind)
    ]
    return " ".join(limits) or " · ".join(f"`{choice}`" for choice in _choices(field.annotation))


def _choices(annotation: Any) -> list[str]:
    """Of a ``Literal``, also where it may be left out."""
    if get_origin(annotation) is Literal:
        return [str(choice) for choice in get_args(annotation)]
    return [choice for part in get_args(annotation) for choice in _choices(part)]


def _docstrings() -> dict[str, str]:
    """What stands under each field."""
    module = ast.parse(inspect.getsource(settings))
    [body] = [node.body for node in module.body if isinstance(node, ast.ClassDef) and node.name == "Settings"]
    return dict(_pairs(body))


def _pairs(body: list[ast.stmt]) -> Iterator[tuple[str, str]]:
    for field, text in pairwise(body):
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
            yield ast.unparse(field.target), " ".join(str(text.value.value).split())


def main(arguments: list[str]) -> int:
    """Write the page, or compare it."""
    return write_or_check(PAGE, render(), arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
