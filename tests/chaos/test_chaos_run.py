"""``python -m chaos`` in its short form: twelve seconds of random faults, and the verdict."""

import json
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

QUICK = {"BKSI_OWNER_TTL_MS": "1000", "BKSI_REAPER_INTERVAL_S": "0.2"}


def test_short_run_loses_nothing_and_does_nothing_twice(tmp_path: Path) -> None:
    options = ("--minutes", "0.2", "--seed", "7", "--fault-every-s", "0.5", "--per-s", "25")
    command = [sys.executable, "-m", "chaos", *options, "--report-dir", tmp_path / "report"]
    done = subprocess.run(command, env=os.environ | QUICK, capture_output=True, text=True, timeout=100, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "report" / "result.json").read_text())
    assert (found["lost"], found["doubled"], found["wrong"]) == (0, 0, [])
    assert sum(found["ended"].values()) == found["accepted"] > 0
    assert found["kills"] > 0
    assert found["jobs"]["accepted"] > 0
    assert len(found["timeline"]) == sum(kind["count"] for kind in found["faults"].values()) > 0
    picture = ET.parse(tmp_path / "report" / "result.svg")
    dots = picture.findall(".//{http://www.w3.org/2000/svg}circle[{http://www.w3.org/2000/svg}title]")
    assert len(dots) == len(found["timeline"])
    assert "Nothing lost, nothing doubled." in done.stdout
    # Logs stay, the servers' data goes.
    assert {path.name for path in (tmp_path / "report").iterdir()} == {"logs", "result.json", "result.svg"}


def test_short_run_beside_a_cmdb_leaves_there_what_is_here_and_once(tmp_path: Path) -> None:
    options = ("--cmdb", "--minutes", "0.15", "--seed", "5", "--fault-every-s", "0.5", "--per-s", "5")
    command = [sys.executable, "-m", "chaos", *options, "--report-dir", tmp_path / "report"]
    done = subprocess.run(command, env=os.environ | QUICK, capture_output=True, text=True, timeout=150, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "report" / "result.json").read_text())
    assert (found["cmdb"]["rows lost"], found["cmdb"]["rows doubled"], found["wrong"]) == (0, 0, [])
    assert found["cmdb"]["instances"] > 0
