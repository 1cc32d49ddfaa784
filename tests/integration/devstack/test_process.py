import sys
from pathlib import Path

from devstack.process import Guard, Process

REPEAT = """
import sys, time
with open(sys.argv[1]) as said:
    while True:
        print(said.readline(), end="", flush=True)
        time.sleep(0.01)
"""


def test_log_begins_anew_at_its_limit_and_keeps_the_one_before(guard: Guard, tmp_path: Path) -> None:
    log, file = tmp_path / "log", tmp_path / "said"
    file.touch()
    with Process("talker", [sys.executable, "-c", REPEAT, file], log=log, guard=guard) as talker:
        with file.open("a") as said:
            print("first", file=said)
        talker.wait_until(lambda: "first" in log.read_text(), timeout_s=30)

        talker.rotate(1_000)
        assert "first" in talker.tail()
        talker.rotate(3)

        assert (tmp_path / "log.1").read_text() == "first\n"
        with file.open("a") as said:
            print("second", file=said)
        talker.wait_until(lambda: "second" in talker.tail(), timeout_s=30)
        assert log.read_text() == "second\n"


def test_log_that_cannot_be_kept_is_begun_anew_all_the_same(guard: Guard, tmp_path: Path) -> None:
    """As on a full disk; the stack would have ended by it."""
    log = tmp_path / "log"
    (tmp_path / "log.1").mkdir()
    talk = "import time; print('said', flush=True); time.sleep(99)"
    with Process("talker", [sys.executable, "-c", talk], log=log, guard=guard) as talker:
        talker.wait_until(lambda: "said" in log.read_text(), timeout_s=30)
        talker.rotate(1)
    assert log.read_text() == ""
