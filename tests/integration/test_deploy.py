"""systemd and our own commands take the units of deploy/."""

import configparser
import shutil
import subprocess
from pathlib import Path

import pytest

from devstack.running import BKSI
from tests.conftest import RunBksi

ROOT = Path(__file__).parents[2]
UNITS = sorted((ROOT / "deploy" / "systemd").glob("*.service"))


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_unit_runs_a_command_of_ours_unprivileged(path: Path, bksi: RunBksi) -> None:
    unit = configparser.RawConfigParser(strict=False)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(path)
    service = unit["Service"]
    program, command, *options = service["ExecStart"].split()
    assert Path(program).name == BKSI.name
    shown = bksi(command, "--help").stdout
    assert [option for option in options if option.startswith("--") and option not in shown] == []
    assert (service["NoNewPrivileges"], service["ProtectSystem"], service["User"]) == ("yes", "strict", "bksi")
    if service.get("Type") != "oneshot":
        assert (service["Restart"], int(service["TimeoutStopSec"])) == ("always", 60)


def test_units_pass_systemds_own_check(tmp_path: Path) -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("needs systemd")
    for path in UNITS:
        (tmp_path / path.name).write_text(path.read_text().replace("/opt/bksi/bin/bksi", str(BKSI)))
    units = [tmp_path / path.name for path in UNITS]
    done = subprocess.run([program, "verify", *units], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
