"""What an operator reads: the whole story of a request by its id, and nothing that is no JSON line."""

import json
from pathlib import Path
from typing import Any

from devstack.running import RunningStack
from tests.acceptance.calls import bound, finish, run, submit


def whole_lines(stack: RunningStack, part: str) -> list[str]:
    """One part's log, without a line that is just being written."""
    return (stack.logs / f"{part}.log").read_text().rpartition("\n")[0].splitlines()


def story(stack: RunningStack, part: str, request_id: str) -> list[dict[str, Any]]:
    """`grep REQUEST_ID` in one part's log."""
    return [json.loads(line) for line in whole_lines(stack, part) if request_id in line]


def told(stack: RunningStack, part: str, request_id: str, **facts: str) -> list[dict[str, Any]]:
    """The lines with `facts`, as soon as there are any: a line is written a moment after the caller hears of it."""
    while not (lines := [line for line in story(stack, part, request_id) if facts.items() <= line.items()]):
        assert stack.runs
    return lines


def ended(stack: RunningStack, request_id: str) -> dict[str, Any]:
    [line] = told(stack, "worker", request_id, event="ended")
    return line


def test_request_is_told_by_its_id_from_the_door_to_its_end(stack: RunningStack) -> None:
    request_id = submit(stack.http, bound(31)).json()["request_id"]
    finish(stack.http, request_id)

    line = ended(stack, request_id)

    facts = {"bk_biz_id": 1, "bk_module_id": 60, "instances": 1, "status": "SUCCESS", "code": 0}
    assert facts.items() <= line.items()
    assert line.get("created", 0) + line.get("existing", 0) == 1  # the stack is shared, and so is the host
    assert (line["attempts"], line["level"]) == (1, "info")
    assert 0 < line["run_ms"] <= line["total_ms"]
    assert told(stack, "shim", request_id, route="/v1/batches/{request_id}")
    routes = [answer["route"] for answer in story(stack, "shim", request_id)]
    assert routes[0] == "/v1/batches"
    assert set(routes[1:]) == {"/v1/batches/{request_id}"}


def test_refused_request_is_told_with_its_code(stack: RunningStack) -> None:
    line = ended(stack, run(stack.http, bound(31, module=999))["request_id"])
    assert (line["status"], line["code"], line["failed"]) == ("FAILED", 1101034, 1)


def test_every_line_is_json(stack: RunningStack) -> None:
    run(stack.http, bound(32))
    for part in ("shim", "worker", "flower"):
        for line in whole_lines(stack, part):
            assert isinstance(json.loads(line), dict), (part, line)


def test_probes_are_not_logged(stack: RunningStack) -> None:
    assert "/readyz" not in Path(stack.logs / "shim.log").read_text()
