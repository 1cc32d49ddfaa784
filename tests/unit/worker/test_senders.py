"""Which signed messages are believed."""

import base64
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest

from contract.message import TaskArguments
from plumbing.toml_file import TomlFileInvalid
from worker.commands.sender_key import sender_key
from worker.senders import Senders
from worker.walk.adopt import NotTrusted, open_message

ID, OTHER_ID = "a" * 32, "b" * 32
KEY, OLD_KEY, OTHER_KEY = "k" * 32, "o" * 32, "x" * 32
BATCH = {"bk_biz_id": 1, "bk_module_id": 60, "instances": [{"bk_host_id": 2}]}
SENDERS = Senders.model_validate(
    {
        "senders": {
            "mine": {"keys": [OLD_KEY, KEY], "bk_biz_ids": [1]},
            "other": {"keys": [OTHER_KEY], "bk_biz_ids": "*"},
        }
    }
)


def sign(key: str = KEY, kid: str = "mine", algorithm: str = "HS256", **claims: Any) -> str:
    claims = {"request_id": ID, "batch": BATCH} | claims
    return jwt.encode(claims, key, algorithm, headers={"kid": kid})


def message(signed: str | None, **more: Any) -> TaskArguments:
    return TaskArguments(request_id=ID, signed=signed, **more)


@pytest.mark.parametrize("key", [KEY, OLD_KEY])
def test_message_signed_with_any_of_the_senders_keys_is_believed(key: str) -> None:
    opened, sender = SENDERS.open(message(sign(key, caller={"bk_username": "admin"})))

    assert (opened.request_id, opened.batch) == (ID, BATCH)
    assert (opened.caller.bk_app_code, opened.caller.bk_username) == ("mine", "admin")
    assert (sender.may_write(1), sender.may_write(2)) == (True, False)


def test_what_stands_beside_a_signature_counts_for_nothing() -> None:
    opened, _ = SENDERS.open(message(sign(), batch=BATCH | {"bk_module_id": 61}, caller={"bk_app_code": "other"}))
    assert (opened.batch, opened.caller.bk_app_code) == (BATCH, "mine")


def unsigned_token() -> str:
    parts = ({"alg": "none", "kid": "mine"}, {"request_id": ID, "batch": BATCH})
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts]
    return ".".join([*encoded, ""])


@pytest.mark.parametrize(
    "signed",
    [
        pytest.param(None, id="unsigned"),
        pytest.param("", id="empty"),
        pytest.param("a.b.c", id="garbage"),
        pytest.param(unsigned_token(), id="alg-none"),
        pytest.param(sign(OTHER_KEY), id="another-key"),
        pytest.param(sign(OTHER_KEY, kid="nobody"), id="unknown-sender"),
        pytest.param(sign(KEY * 2, algorithm="HS512"), id="another-algorithm"),
        pytest.param(sign(request_id=OTHER_ID), id="another-request"),
        pytest.param(sign(caller={"bk_app_code": "other"}), id="another-application"),
        pytest.param(sign(OTHER_KEY, kid="other", caller={"bk_app_code": "mine"}), id="somebody-elses-name"),
        pytest.param(sign(exp=datetime.now(tz=UTC) - timedelta(minutes=1)), id="expired"),
        pytest.param(sign(nbf=datetime.now(tz=UTC) + timedelta(days=1)), id="not-yet"),
        pytest.param(sign(batch=None), id="no-batch"),
        pytest.param(sign(batch=[]), id="batch-is-a-list"),
        pytest.param(sign(caller=[1]), id="caller-is-a-list"),
    ],
)
@pytest.mark.bad_input(
    99, "a direct message in somebody else's name, where senders are configured", "refused; nothing is stored"
)
def test_any_other_message_is_refused_without_saying_what_it_holds(signed: str | None) -> None:
    with pytest.raises(NotTrusted) as refused:
        SENDERS.open(message(signed, batch=BATCH))
    assert ID not in str(refused.value)
    assert "mine" not in str(refused.value)


def test_without_senders_plain_messages_run_and_signed_ones_do_not() -> None:
    plain = message(None, batch=BATCH)
    assert open_message(plain, None) == (plain, None)
    with pytest.raises(NotTrusted, match="BKSI_SENDERS_FILE"):
        open_message(message(sign()), None)


@pytest.mark.parametrize(
    "text",
    [
        'senders = "CANARY"',
        '[senders.a]\nkeys = ["CANARY"]\nbk_biz_ids = [1]',
        "[senders.a]\nkeys = []\nbk_biz_ids = [1]",
        f'[senders.a]\nkeys = ["{KEY}"]',
        f'[senders."a b"]\nkeys = ["{KEY}"]\nbk_biz_ids = "*"',
        'keys = "CANARY',
    ],
)
def test_file_that_cannot_be_used_is_refused_without_its_content(text: str, tmp_path: Path) -> None:
    path = tmp_path / "senders.toml"
    path.write_text(text)
    with pytest.raises(TomlFileInvalid) as refused:
        Senders.load(path)
    assert str(path) in str(refused.value)
    assert "CANARY" not in str(refused.value)


def test_empty_file_names_nobody_and_is_no_mistake(tmp_path: Path) -> None:
    (tmp_path / "senders.toml").touch()
    assert Senders.load(tmp_path / "senders.toml").senders == {}


def test_file_that_is_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TomlFileInvalid, match="No such file"):
        Senders.load(tmp_path / "none.toml")


def test_command_makes_an_entry_that_can_be_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sender_key("my_app")
    path = tmp_path / "senders.toml"
    path.write_text(capsys.readouterr().out)
    assert len(Senders.load(path).senders["my_app"].keys[0]) >= 32
