"""What a command says of a setting that cannot be used."""

import pytest

from tests.conftest import RunBksi


@pytest.mark.bad_input(141, "a password with @ : / in a URL among the settings", "named in one line, without the value")
@pytest.mark.parametrize("command", ["serve", "worker", "migrate", "doctor"])
def test_every_command_says_it_in_one_line(bksi: RunBksi, command: str) -> None:
    done = bksi(command, env={"BKSI_REDIS_URL": "redis://bksi:CANARY@:/x@redis:6379/0"})
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "BKSI_REDIS_URL" in done.stderr
    assert "CANARY" not in done.stderr + done.stdout
