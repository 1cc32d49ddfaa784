"""docs/fidelity.md says what the tests' marks say."""

import pytest

from tests.fidelity import PAGE, RULES, TESTS, WHO, Rule, main, read_marks, render

SOURCE = """
import pytest

OURS = "ours"
KEPT = pytest.mark.rule("A1", "kept", ours=OURS)


@pytest.mark.rule("V10", "ten")
@pytest.mark.rule("V9", "nine | pipe")
@pytest.mark.parametrize("x", [1, pytest.param(2, marks=pytest.mark.rule("3.1", "of one case"))])
def test_first(x): ...


class TestGroup:
    @KEPT
    async def test_second(self): ...


@pytest.mark.skip
def test_third(): ...
"""


def test_page_is_up_to_date():
    assert PAGE.read_text(encoding="utf-8") == render(read_marks(TESTS)), "run: python -m tests.fidelity"
    assert main(["--check"]) == 0


def test_every_rule_is_proven():
    assert set(RULES) <= {rule.number for rule in read_marks(TESTS)}


def test_marks_are_read_wherever_a_test_carries_them(tmp_path):
    (tmp_path / "unit").mkdir()
    (tmp_path / "unit" / "test_sample.py").write_text(SOURCE)
    assert read_marks(tmp_path) == {
        Rule("V10", "ten", ""): ["unit/test_sample.py::test_first"],
        Rule("V9", "nine | pipe", ""): ["unit/test_sample.py::test_first"],
        Rule("3.1", "of one case", ""): ["unit/test_sample.py::test_first"],
        Rule("A1", "kept", "ours"): ["unit/test_sample.py::test_second"],
    }


def test_rules_are_in_order_and_their_text_does_not_break_the_table():
    marks = {
        Rule(number, "x | y", ""): [f"unit/worker/expand/test_a.py::test_{number}"] for number in ("V10", "V9", "A2")
    }
    lines = [line for line in render(marks).splitlines() if line.startswith(("| V", "| A"))]
    assert lines == [
        rf"| {number} | x \| y |  |{who} [test_a.py](../tests/unit/worker/expand/test_a.py): `test_{number}` |"
        for number, who in (("V9", " worker: rules |"), ("V10", " worker: rules |"), ("A2", ""))
    ]


def test_every_check_says_who_makes_it():
    checks = [test for rule, tests in read_marks(TESTS).items() if rule.number.startswith("V") for test in tests]
    assert [test for test in checks if not test.startswith(tuple(WHO))] == []


def test_a_number_of_no_section_is_a_mistake():
    with pytest.raises(ValueError, match="X1"):
        render({Rule("X1", "unknown", ""): ["test_a.py::test_a"]})
