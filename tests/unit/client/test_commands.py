"""One `bksi` from the client and the sides that are installed."""

from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from cyclopts import App

from bksi_client.cli import root


def side(module: str) -> EntryPoint:
    return EntryPoint("side", f"{module}:app", root.GROUP)


def test_commands_of_every_side_appear_directly(capsys: pytest.CaptureFixture[str]) -> None:
    one, other = App(name="one"), App(name="other")
    one.command(lambda: print("first"), name="first")
    other.command(lambda: print("second"), name="second")
    app = root.mount([one, other])
    for command in ("first", "second"):
        app([command], result_action="return_value")
    assert capsys.readouterr().out == "first\nsecond\n"


def test_side_without_its_extra_is_left_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "lacking_side.py").write_text("import a_library_that_is_not_installed")
    assert root.sides([side("lacking_side"), side("side_that_is_not_there")]) == []


@pytest.mark.parametrize(
    ("name", "mistake"),
    [
        ("side_with_a_wrong_module", "import json.a_module_that_is_not_there"),
        ("side_with_a_wrong_name", "from json import no_such_name"),
    ],
)
def test_mistake_of_our_own_is_not_hidden(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, mistake: str
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / f"{name}.py").write_text(mistake)
    with pytest.raises(ImportError):
        root.sides([side(name)])
