import os
from pathlib import Path

import pytest
from pydantic import BaseModel

from plumbing.toml_file import TomlFileInvalid, read_toml


class Content(BaseModel, extra="forbid"):
    number: int = 0


def refusal(path: Path) -> str:
    with pytest.raises(TomlFileInvalid) as refused:
        read_toml(path, Content)
    assert str(refused.value).startswith(f"{path}: ")
    return str(refused.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b'number = "CANARY"', "number: Input should be a valid integer"),
        (b"number = 1\nCANARY\nx = 1\n", "not TOML, line 2"),
        (b"# \xff CANARY", "not UTF-8"),
        (b"CANARY_ = 1", "CANARY_: Extra inputs are not permitted"),
    ],
)
def test_what_is_wrong_is_said_without_what_stands_there(text: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "some.toml"
    path.write_bytes(text)
    refused = refusal(path)
    assert said in refused
    assert "CANARY" not in refused.replace("CANARY_: ", "")


def test_directory_or_nothing_is_named_as_such(tmp_path: Path) -> None:
    assert "Is a directory" in refusal(tmp_path)
    assert "No such file" in refusal(tmp_path / "none")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody who may not read")
def test_somebody_elses_file_is_refused_with_both_users_and_its_mode(tmp_path: Path) -> None:
    path = Path("/tmp") / f"bksi-test-{os.getpid()}.toml"
    path.touch(mode=0o600)
    try:
        os.seteuid(10001)
        refused = refusal(path)
    finally:
        os.seteuid(0)
        path.unlink()
    assert "user 10001 may not read it; it is user 0's, mode 600" in refused
    assert "chown 10001 and chmod 400" in refused
