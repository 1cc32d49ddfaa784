"""Write docs/bad-input.md: everything bad that tests send, by number, and what it is answered.

    python -m tests.bad_input_page          # write the page
    python -m tests.bad_input_page --check  # exit 1 when it is out of date

Two tables are tests' parameters as they stand; the third is made of the marks ``bad_input(number, sent, answer)``,
which are read from the source.
"""

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from docs.generated_page import write_or_check
from tests.acceptance import bad_values
from tests.integration.api_shim.http import bad_inputs

TESTS = Path(__file__).parent
PAGE = TESTS.parent / "docs" / "bad-input.md"

HEAD = """\
# Bad input and attacks, and what they are answered

Made from the tests by `python -m tests.bad_input_page`; a test fails when they disagree. A number is a class of input,
in all three tables.

## Refused before anything is stored

Sent to `POST /v1/batches` and to both kinds of compat path. There the status is 200, except for 408, 413 and 431.

| # | sent | v1 status | code | fields named |
|---|---|---|---|---|
"""
VALUES = """
## Refused, or taken otherwise, by the worker

Sent on v1 and on a compat path of a whole system. A refused one writes no row. With code 0 it is taken, and the field
is named in `warnings` where something was ignored.

| # | sent | code | field |
|---|---|---|---|
"""
OTHERS = """
## Everything that is more than one request

| # | sent, or done | answer | proven by |
|---|---|---|---|
"""


class Mark(NamedTuple):
    """One ``bad_input`` mark and the test that carries it."""

    number: int
    sent: str
    answer: str
    test: str


@cache
def read_marks(tests: Path) -> list[Mark]:
    """Every mark below `tests`, in the order of its number."""
    return sorted(mark for path in tests.rglob("test_*.py") for mark in _marks(path, tests))


def render() -> str:
    """The page."""
    return "".join([HEAD, *_door(), VALUES, *_values(), OTHERS, *_others()])


def _door() -> Iterator[str]:
    for case in sorted(bad_inputs.CASES, key=lambda case: case.number):
        status = f"{case.status} (taken on compat paths)" if case.accepted_on_compat else str(case.status)
        fields = ", ".join(f"`{path}`" for path in case.paths or ())
        yield _row(case.number, case.name, status, case.code, fields)


def _values() -> Iterator[str]:
    for case in sorted(bad_values.CASES, key=lambda case: case.number):
        yield _row(case.number, case.name, case.code, f"`{case.path}`" if case.path else "")


def _others() -> Iterator[str]:
    for number, sent, answer, test in read_marks(TESTS):
        path, name = test.split("::")
        yield _row(number, sent, answer, f"[{Path(path).name}](../tests/{path}): `{name}`")


def _row(*cells: object) -> str:
    return f"| {' | '.join(str(cell).replace('|', chr(92) + '|') for cell in cells)} |\n"


def _marks(path: Path, tests: Path) -> Iterator[Mark]:
    source = path.read_text(encoding="utf-8")
    if "mark.bad_input" not in source:
        return
    for node in ast.walk(ast.parse(source, str(path))):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        for call in node.decorator_list:
            if isinstance(call, ast.Call) and ast.unparse(call.func) == "pytest.mark.bad_input":
                number, sent, answer = map(ast.literal_eval, call.args)
                yield Mark(number, sent, answer, f"{path.relative_to(tests).as_posix()}::{node.name}")


def main(arguments: list[str]) -> int:
    """Write the page, or compare it."""
    return write_or_check(PAGE, render(), arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
