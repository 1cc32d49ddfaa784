"""Write docs/fidelity.md: every rule of CMDB that a test proves, as the tests' own marks say it.

    python -m tests.fidelity          # write the page
    python -m tests.fidelity --check  # exit 1 when it is out of date

The marks are read from the source, so that nothing has to be imported or started.
"""

import ast
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from docs.generated_page import write_or_check

TESTS = Path(__file__).parent
PAGE = TESTS.parent / "docs" / "fidelity.md"

HEAD = """\
# What is proven to be CMDB's behaviour

Generated from the marks of the tests by `python -m tests.fidelity`; a test fails when this page and the tests disagree.

Each line is a rule of CMDB's `create_service_instance` (bk-cmdb 3.14), where ours differs what it does instead, and the
tests that hold it. [differences-from-cmdb.md](differences-from-cmdb.md) gives the reasons.
"""


class Section(NamedTuple):
    """A table of the page: the rules whose number matches `pattern`; with `who`, the side that makes the check."""

    title: str
    pattern: str
    text: str
    who: bool = False


WHO = {
    "unit/contract/": "submitter",
    "integration/api_shim/": "submitter",
    "unit/worker/expand/": "worker: rules",
    "integration/worker/postgres/": "worker: database",
    "integration/worker/test_": "worker",
    "integration/worker/custody/": "worker: reaper",
    "acceptance/": "both",
}
"""Whose code the tests of a directory hold to a check."""


SECTIONS = (
    Section(
        title="Checks, in the order CMDB makes them",
        pattern=r"V\d+",
        who=True,
        text="""\
V0 to V3 look at the request alone, V4 to V9 at the module and all hosts, V10 to V17 at one instance, V18 to V22 at its
processes, V23 to V26 at the writing. Each code is also caused through HTTP, and read in both languages, in
[test_codes.py](../tests/acceptance/test_codes.py).
""",
    ),
    Section(
        title="Processes, templates and rows",
        pattern=r"\d+\.\d+",
        text="""\
2.x is the request, 3.1 the properties of a process, 3.2 the bind rows of an instance, 3.3 those of a template, 3.4 the
port grammar, 3.5 building a process from its template, 3.6 the caller's values over it, 3.7 the documented example,
3.8 what must differ between templates, 4.x what is stored, 5.x the answer.
""",
    ),
    Section(
        title="Where CMDB's documentation is silent or says two things",
        pattern=r"A\d+",
        text="""\
A1 to A38 are questions that the interface page of `create_service_instance` leaves open, with CMDB's answer.
""",
    ),
)

RULES = (
    *(f"V{number}" for number in range(27)),
    *(
        f"{chapter}.{section}"
        for chapter, sections in ((2, "1235"), (3, "12345678"), (4, "123456"))
        for section in sections
    ),
    *("5.1", "5.2", "5.3"),
    *(f"A{number}" for number in range(1, 39)),
)
"""All of them: checks, sections and open questions. 2.4, what a transfer of hosts creates, is not done here."""


class Rule(NamedTuple):
    """One mark: the rule's number, CMDB's behaviour, and ours where it differs."""

    number: str
    statement: str
    ours: str


@cache
def read_marks(tests: Path) -> dict[Rule, list[str]]:
    """Return every rule with the tests that carry its mark, as ``unit/worker/expand/test_ports.py::test_port``."""
    found: dict[Rule, list[str]] = {}
    for path in sorted(tests.rglob("test_*.py")):
        source = path.read_text(encoding="utf-8")
        if "mark.rule" not in source:
            continue
        tree = ast.parse(source, str(path))
        constants = _constants(tree)
        for test in _tests(tree):
            for rule in dict.fromkeys(_rules(test.decorator_list, constants)):
                found.setdefault(rule, []).append(f"{path.relative_to(tests).as_posix()}::{test.name}")
    return found


def render(marks: dict[Rule, list[str]]) -> str:
    """Return the page.

    Raises:
        ValueError: a rule's number belongs to no section.
    """
    parts, left = [HEAD], set(marks)
    for section in SECTIONS:
        rules = sorted((rule for rule in left if re.fullmatch(section.pattern, rule.number)), key=_natural)
        left -= set(rules)
        who = " Checked by |" if section.who else ""
        table = [
            f"| Rule | CMDB | Ours, where it differs |{who} Proven by |",
            f"|---|---|---|{'---|' if who else ''}---|",
            *(_row(rule, marks[rule], who=section.who) for rule in rules),
        ]
        parts += [f"## {section.title}", section.text, "\n".join(table) + "\n"]
    if left:
        raise ValueError(f"rules of no section: {sorted(left)}")
    return "\n".join(parts)


def _row(rule: Rule, tests: Sequence[str], *, who: bool) -> str:
    sides = [side for directory, side in WHO.items() for test in tests if who and test.startswith(directory)]
    checked_by = f" {'; '.join(dict.fromkeys(sides))} |" if who else ""
    return f"| {rule.number} | {_cell(rule.statement)} | {_cell(rule.ours)} |{checked_by} {_links(tests)} |"


def _natural(rule: Rule) -> tuple[list[int], str]:
    return [int(number) for number in re.findall(r"\d+", rule.number)], rule.statement


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _links(tests: Iterable[str]) -> str:
    names: dict[str, list[str]] = {}
    for test in tests:
        path, name = test.split("::")
        names.setdefault(path, []).append(f"`{name}`")
    return "; ".join(f"[{Path(path).name}](../tests/{path}): {', '.join(found)}" for path, found in names.items())


def _tests(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            yield node


def _constants(tree: ast.Module) -> dict[str, ast.expr]:
    return {
        target.id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def _rules(decorators: Iterable[ast.expr], constants: dict[str, ast.expr]) -> Iterator[Rule]:
    """Read marks from the top down, also those inside ``pytest.param(…, marks=…)``."""
    for decorator in decorators:
        resolved = constants.get(decorator.id, decorator) if isinstance(decorator, ast.Name) else decorator
        for node in ast.walk(resolved):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.rule":
                values = [_text(value, constants) for value in node.args]
                ours = [_text(keyword.value, constants) for keyword in node.keywords if keyword.arg == "ours"]
                number, statement, differing = [*values, *ours, ""][:3]
                yield Rule(number, statement, differing)


def _text(value: ast.expr, constants: dict[str, ast.expr]) -> str:
    found = ast.literal_eval(constants.get(value.id, value) if isinstance(value, ast.Name) else value)
    if not isinstance(found, str):
        raise TypeError(f"a mark takes texts, not {found!r}")
    return found


def main(arguments: list[str]) -> int:
    """Write the page, or compare it."""
    return write_or_check(PAGE, render(read_marks(TESTS)), arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
