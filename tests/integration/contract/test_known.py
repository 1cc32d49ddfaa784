from collections.abc import Callable
from typing import Any

import pytest


@pytest.mark.parametrize("command", ["app-secret", "sender-key"])
@pytest.mark.parametrize("app_code", ["a.b", "my app", 'a"]', "a\n", "应用", ""])
def test_no_entry_is_made_under_a_name_that_its_file_refuses(
    bksi: Callable[..., Any], command: str, app_code: str
) -> None:
    done = bksi(command, app_code)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "bksi: APP_CODE: must be 1 to 128 letters, digits, - or _\n"
