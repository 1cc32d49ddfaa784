"""No text takes longer to match than it takes to read twice: no repetition within a repetition."""

import importlib
import pkgutil
import re
from collections.abc import Iterator
from re import _constants, _parser  # type: ignore[attr-defined]  # how `re` itself reads a pattern
from typing import Any

import pytest

import api_shim
import contract
import worker

REPEATS = {_constants.MAX_REPEAT, _constants.MIN_REPEAT}


def patterns() -> Iterator[tuple[str, "re.Pattern[Any]"]]:
    """Every pattern that a module of ours has compiled, by its name."""
    for package in (api_shim, contract, worker):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if "migrations" in module.name or module.name == "worker.app":
                continue
            for name, value in vars(importlib.import_module(module.name)).items():
                if isinstance(value, re.Pattern):
                    yield f"{module.name}.{name}", value


def repeats_within(parsed: Any, depth: int = 0) -> int:
    """How deep unbounded repetitions are nested."""
    deepest = depth
    for operation, argument in parsed:
        below = depth
        if operation in REPEATS:
            _, most, body = argument
            below = depth + (most == _constants.MAXREPEAT)
            deepest = max(deepest, repeats_within(body, below))
        elif operation is _constants.SUBPATTERN:
            deepest = max(deepest, repeats_within(argument[-1], below))
        elif operation is _constants.BRANCH:
            deepest = max(deepest, *(repeats_within(branch, below) for branch in argument[1]))
    return max(deepest, depth)


def test_nested_repetition_is_recognised() -> None:
    assert repeats_within(_parser.parse(r"(a+)+$")) == 2
    assert repeats_within(_parser.parse(r"(?:x|a*b)*")) == 2
    assert repeats_within(_parser.parse(r"[a-z]+\d{1,5}")) == 1


@pytest.mark.bad_input(
    114, "text made to keep a regular expression busy", "patterns without nested repetition; length first"
)
def test_no_pattern_repeats_within_a_repetition() -> None:
    found = dict(patterns())
    assert len(found) > 5
    assert {name: p.pattern for name, p in found.items() if repeats_within(_parser.parse(p.pattern, p.flags)) > 1} == {}
