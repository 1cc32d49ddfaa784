"""What others have written, on a terminal."""

import io
import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table

from worker.commands.console import PlainConsole, printable


@given(st.text())
def test_nothing_that_a_terminal_would_obey_is_left(text: str) -> None:
    shown = printable(text)
    assert not any(unicodedata.category(character) in ("Cc", "Cf") and character not in "\n\t" for character in shown)
    assert printable(shown) == shown


@pytest.mark.bad_input(110, "escape sequences in what is stored, printed by a command", "shown as escapes")
def test_console_prints_escapes_of_others_as_text_and_keeps_its_own_colours() -> None:
    file = io.StringIO()
    console = PlainConsole(file=file, force_terminal=True, color_system="standard", width=80)
    table = Table("name")
    table.add_row("a\x1b[2J\x1b]0;title\x07b\u202ec")
    console.print(table)
    console.print("line\x1b[31m", style="red", markup=False, highlight=False)
    told = file.getvalue()
    assert r"a\u001b[2J" in told
    assert "\x1b[2J" not in told
    assert "\u202e" not in told
    assert "\x07" not in told
    assert "\x1b[31mline\\u001b[31m" in told


@given(st.text())
def test_printed_json_is_read_as_what_was_printed(text: str) -> None:
    file = io.StringIO()
    PlainConsole(file=file, soft_wrap=True).print_json(data={"name": text})
    assert json.loads(file.getvalue()) == {"name": text}
