"""docs/bad-input.md says what the tests send."""

from tests.bad_input_page import PAGE, TESTS, main, read_marks, render


def test_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == render(), "run: python -m tests.bad_input_page"
    assert main(["--check"]) == 0


def test_marks_are_read_from_the_source_and_a_bar_does_not_break_the_table() -> None:
    sent = {mark.number: mark.test for mark in read_marks(TESTS)}
    assert sent[73] == "integration/api_shim/http/test_attacks.py::test_request_id_is_never_the_callers"
    assert all(line.count(" | ") in (3, 4) for line in render().splitlines() if line.startswith("| "))
