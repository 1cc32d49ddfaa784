"""Every row of the table, on all three kinds of paths: the code, the status, the shape, and nothing stored."""

from typing import Any

import pytest
import redis as redis_client

from tests.integration.api_shim.http.bad_inputs import CASES, Case
from tests.integration.api_shim.http.door_client import ESB_PATH, NATIVE_PATH, V1_PATH, Client

SIX = ["result", "code", "message", "permission", "request_id", "data"]


def _is_envelope(answer: dict[str, Any], *more: str) -> bool:
    return list(answer) == [*SIX, *more] and answer["result"] is False and answer["data"] is None


@pytest.mark.parametrize("case", CASES, ids=str)
def test_bad_input_on_v1(case: Case, door: Client, redis: "redis_client.Redis") -> None:
    answer = door.call("POST", V1_PATH + case.query, content=case.body, headers=case.headers)

    assert (answer.status_code, answer.json()["code"]) == (case.status, case.code)
    assert _is_envelope(answer.json(), "errors")
    assert 1 <= len(answer.json()["errors"]) <= 20
    if case.paths is not None:
        assert tuple(error["path"] for error in answer.json()["errors"]) == case.paths
    assert redis.keys() == []


@pytest.mark.parametrize("case", CASES, ids=str)
def test_bad_input_on_esb(case: Case, door: Client, redis: "redis_client.Redis") -> None:
    answer = door.call("POST", ESB_PATH + case.query, content=case.body, headers=case.headers)

    if case.accepted_on_compat:
        assert answer.json()["code"] == 1190001
        return
    assert (answer.status_code, answer.json()["code"]) == (413 if case.status == 413 else 200, case.code)
    assert _is_envelope(answer.json())
    assert redis.keys() == []


@pytest.mark.parametrize("case", CASES, ids=str)
def test_bad_input_on_native(case: Case, door: Client) -> None:
    answer = door.call("POST", NATIVE_PATH + case.query, content=case.body, headers=case.headers)

    if case.accepted_on_compat:
        assert answer.json()["code"] == 1190001
        return
    assert answer.status_code == (413 if case.status == 413 else 200)
    assert _is_envelope(answer.json(), "bk_error_code", "bk_error_msg")
    assert answer.json()["bk_error_code"] == answer.json()["code"] == case.code
