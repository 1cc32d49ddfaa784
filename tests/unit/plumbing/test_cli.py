"""One `bksi` from the sides that are installed."""

from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from cyclopts import App

from plumbing import cli


def side(module: str) -> EntryPoint:
    return EntryPoint("side", f"{module}:app", cli.GROUP)


def test_commands_of_every_side_appear_directly(capsys: pytest.CaptureFixture[str]) -> None:
    one, other = App(name="one"), App(name="other")
    one.command(lambda: print("first"), name="first")
    other.command(lambda: print("second"), name="second")
    app = cli.mount([one, other])
    for command in ("first", "second"):
        app([command], result_action="return_value")
    assert capsys.readouterr().out == "first\nsecond\n"


def run(monkeypatch: pytest.MonkeyPatch, *points: EntryPoint) -> int | str | None:
    monkeypatch.setattr(cli, "entry_points", lambda group: points)
    monkeypatch.setattr("sys.argv", ["bksi", "--help"])
    with pytest.raises(SystemExit) as exit_:
        cli.main()
    return exit_.value.code


def test_nothing_installed_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch) == cli.NOTHING_INSTALLED


def test_side_without_its_extra_is_left_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "lacking_side.py").write_text("import a_library_that_is_not_installed")
    assert run(monkeypatch, side("lacking_side")) == cli.NOTHING_INSTALLED
    assert run(monkeypatch, side("side_that_is_not_there")) == cli.NOTHING_INSTALLED


@pytest.mark.parametrize(
    ("name", "mistake"),
    [
        ("side_with_a_wrong_module", "import contract.a_module_that_is_not_there"),
        ("side_with_a_wrong_name", "from json import no_such_name"),
    ],
)
def test_mistake_of_our_own_is_not_hidden(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, mistake: str
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / f"{name}.py").write_text(mistake)
    monkeypatch.setattr(cli, "entry_points", lambda group: (side(name),))
    with pytest.raises(ImportError):
        cli.main()
