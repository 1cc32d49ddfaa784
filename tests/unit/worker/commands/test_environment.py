import re
import resource
from pathlib import Path

import pytest

from contract.settings import Settings
from worker.commands.doctor.environment import examine_environment, examine_open_files
from worker.commands.doctor.finding import Level


@pytest.mark.parametrize(
    ("name", "mend"),
    [
        ("BKSI_REDIS_ULR", "Did you mean BKSI_REDIS_URL?"),
        ("BKSI_POSTGRES_URL", "Did you mean BKSI_POSTGRES_DSN?"),
        ("BKSI_APP_FILE", "Did you mean BKSI_APPS_FILE?"),
        ("BKSI_XYZZY", "docs/settings.md"),
    ],
)
def test_misspelt_variable_is_named_with_what_it_may_mean(name: str, mend: str) -> None:
    [finding] = examine_environment(["PATH", "BKSI_LOG_LEVEL", name])
    assert (finding.level, finding.found) == (Level.WARNING, f"nobody reads {name}")
    assert mend in finding.mend


def test_settings_in_either_case_and_the_callers_variables_are_known() -> None:
    names = [f"BKSI_{name.upper()}" for name in Settings.model_fields]
    [finding] = examine_environment([*names, "bksi_redis_url", "BKSI_URL", "BKSI_APP_SECRET", "BKSI_PUBLISH"])
    assert finding.level is Level.OK


def test_limit_of_open_files_is_held_against_the_callers_that_may_wait() -> None:
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert examine_open_files(Settings(max_open_waits=1)).level is Level.OK
    finding = examine_open_files(Settings(max_open_waits=max(limit, 1) + 1))
    assert finding.level is Level.WARNING
    assert f"ulimit -n {limit + 1 + 512}" in finding.mend


def test_every_variable_of_the_callers_commands_is_known() -> None:
    sources = (Path(__file__).parents[4] / "clients" / "python" / "src").rglob("*.py")
    named = {name for source in sources for name in re.findall(r'"(BKSI_[A-Z_]+)"', source.read_text())}
    assert named
    assert {finding.level for finding in examine_environment(named)} == {Level.OK}
