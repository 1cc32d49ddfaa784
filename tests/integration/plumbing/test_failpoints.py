"""Failpoints end the process that reaches them."""

import signal
import subprocess
import sys
from pathlib import Path


def test_passages_are_counted_over_all_processes(tmp_path: Path) -> None:
    code = (
        "import pathlib, sys\n"
        "from plumbing.failpoints import arm, failpoint\n"
        "arm('after_lease=kill:2', pathlib.Path(sys.argv[1]))\n"
        "failpoint('after_lease')\n"
    )
    codes = [subprocess.run([sys.executable, "-c", code, tmp_path], check=False).returncode for _ in range(3)]
    assert codes == [-signal.SIGKILL, -signal.SIGKILL, 0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["after_lease.1", "after_lease.2", "after_lease.3"]
