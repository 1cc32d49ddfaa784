"""docs/glossary.md: each word once, and the diagram knows the states of the code."""

import re
from collections import Counter
from pathlib import Path

from contract.answer.status import Outcome, Status
from contract.codes import Code

PAGE = (Path(__file__).parents[2] / "docs" / "glossary.md").read_text()
WORDS = [word for line in re.findall(r"^\| (.+?) \|", PAGE, re.MULTILINE) for word in line.split(", ")]


def test_each_word_has_one_meaning() -> None:
    assert len(WORDS) > 40
    assert {word: count for word, count in Counter(WORDS).items() if count > 1 and word not in ("word", "---")} == {}


def test_diagram_has_every_status_and_no_other() -> None:
    diagram = PAGE[PAGE.index("stateDiagram") :]
    named = set(re.findall(r"\b[A-Z][A-Z_]{3,}\b", diagram))
    assert named == {status.value for status in Status}


def test_diagram_ends_where_a_request_has_ended() -> None:
    ended = set(re.findall(r"(\w+) --> \[\*\]", PAGE))
    assert ended == {status.value for status in Status if status.is_final}


def test_outcomes_and_codes_are_those_of_the_code() -> None:
    assert f"`{' '.join(outcome.value for outcome in Outcome)}`" in PAGE
    assert str(int(Code.DEAD_LETTER)) in PAGE
