"""What becomes of each instance, as v1 shows it: created, found, healed, refused; and the dry run before."""

from copy import deepcopy
from typing import Any

import httpx2
import pytest

from tests.acceptance.calls import bound, count_rows, finish, instance_rows, run, unbound
from tests.acceptance.pair import Pair

INFO = "instances[0].processes[0].process_info"


def validate(http: str, body: dict[str, Any]) -> dict[str, Any]:
    response = httpx2.post(f"{http}/v1/batches:validate", json=body, timeout=60)
    assert response.status_code == 200, response.text
    report: dict[str, Any] = response.json()
    return report


def outcomes(report: dict[str, Any]) -> list[str]:
    return [item["outcome"] for item in report["items"]]


@pytest.fixture(scope="module")
def halves(pair: Pair) -> dict[str, Any]:
    """A batch of which some is there already, in part and otherwise."""
    past = unbound(71)
    run(pair.http, past)
    wanted = deepcopy(past["instances"][0])
    [process] = wanted["processes"]
    process["process_info"]["timeout"] = 30
    process["process_info"]["bind_info"].append({"template_row_id": 2, "port": "81", "protocol": "1"})
    wanted["processes"] += unbound(71, "redis")["instances"][0]["processes"]
    return past | {"instances": [wanted, deepcopy(wanted), *unbound(72)["instances"]]}


def test_dry_run_says_what_would_be_healed_and_writes_nothing(pair: Pair, halves: dict[str, Any]) -> None:
    before = count_rows(pair.postgres)

    report = validate(pair.http, halves)

    assert (report["result"], report["data"], outcomes(report)) == (True, None, ["healed", "existing", "created"])
    assert [process["outcome"] for process in report["items"][0]["processes"]] == ["healed", "created"]
    assert report["items"][2]["service_instance_id"] is None
    assert [len(instance["processes"]) for instance in report["preview"]] == [2, 2, 1]
    assert count_rows(pair.postgres) == before


def test_past_is_completed_and_what_differs_is_named(pair: Pair, halves: dict[str, Any]) -> None:
    before = count_rows(pair.postgres)

    report = run(pair.http, halves)

    assert (report["status"], outcomes(report)) == ("SUCCESS", ["healed", "existing", "created"])
    first, second, third = report["data"]
    assert first == second != third
    warned = [[(warning["path"], warning["reason"]) for warning in item["warnings"]] for item in report["items"]]
    assert warned == [[(f"{INFO}.timeout", "differs")], [("instances[1]", "duplicate_in_request")], []]
    assert not any("30" in warning["message"] for warning in report["items"][0]["warnings"])
    kept, added = instance_rows(pair.postgres, first)["processes"]
    assert (kept["timeout"], [row["port"] for row in kept["bind_info"]]) == (None, ["80", "81"])
    assert added["bk_process_name"] == "redis"
    grown = {table: count - before[table] for table, count in count_rows(pair.postgres).items()}
    assert grown == {"service_instance": 1, "process": 2, "process_bind_info": 3, "audit_log": 1}
    assert outcomes(run(pair.http, halves)) == ["existing"] * 3


def test_clone_is_a_second_instance_on_one_host(pair: Pair) -> None:
    body = unbound(73, on_existing="clone")

    first, second = run(pair.http, body), run(pair.http, body)

    assert outcomes(first) == outcomes(second) == ["created"]
    assert first["data"] != second["data"]


def test_refused_instance_is_named_by_the_dry_run_of_either_mode(pair: Pair) -> None:
    body = unbound(74) | {"instances": [*unbound(74)["instances"], *unbound(75, port="0")["instances"]]}
    before = count_rows(pair.postgres)

    atomic, partial = validate(pair.http, body), validate(pair.http, body | {"mode": "partial"})

    assert (atomic["status"], outcomes(atomic)) == ("FAILED", ["skipped", "failed"])
    assert (partial["status"], outcomes(partial)) == ("PART_FAILED", ["created", "failed"])
    assert count_rows(pair.postgres) == before


def test_items_are_paged_and_filtered(pair: Pair) -> None:
    body = unbound(76, mode="partial")
    body["instances"] += unbound(77, port="0")["instances"] + unbound(78)["instances"] + unbound(999_999)["instances"]
    report = run(pair.http, body)
    url = f"{pair.http}/v1/batches/{report['request_id']}/items"

    def page(**query: Any) -> dict[str, Any]:
        answer: dict[str, Any] = httpx2.get(url, params=query, timeout=60).json()
        return answer

    assert page()["items"] == report["items"]
    first = page(limit=3)
    assert first["items"] + page(limit=3, cursor=first["next_cursor"])["items"] == report["items"]
    assert page(limit=3, cursor=first["next_cursor"])["next_cursor"] is None
    failed = page(outcome="failed", limit=1)
    rest = page(outcome="failed", limit=1, cursor=failed["next_cursor"])
    assert [item["index"] for item in failed["items"] + rest["items"]] == [1, 3]
    assert (rest["next_cursor"], page(outcome="healed")["items"]) == (None, [])


def test_strict_is_kept_in_the_answer_of_a_repeat(pair: Pair) -> None:
    """The same key without strict is another request."""
    body = bound(79) | {"instances": [{"bk_host_id": 79, "processes": [{"process_template_id": 9}]}]}
    key = {"Idempotency-Key": "strict-or-not"}

    strict = httpx2.post(f"{pair.http}/v1/batches?strict=1", json=body, headers=key, timeout=60)
    repeat = httpx2.post(f"{pair.http}/v1/batches", json=body | {"strict": True}, headers=key, timeout=60)
    lenient = httpx2.post(f"{pair.http}/v1/batches", json=body, headers=key, timeout=60)

    assert repeat.json()["request_id"] == strict.json()["request_id"]
    assert (lenient.status_code, lenient.json()["code"]) == (422, 1190004)


def test_clones_that_are_there_are_not_cloned_once_more_by_a_retry(pair: Pair) -> None:
    instances = [unbound(host, "cloned")["instances"][0] for host in (73, 999_999)]
    wanted = unbound(73) | {"instances": instances, "mode": "partial", "on_existing": "clone"}
    first = run(pair.http, wanted)
    assert (first["status"], outcomes(first)) == ("PART_FAILED", ["created", "failed"])
    before = count_rows(pair.postgres)

    again = httpx2.post(f"{pair.http}/v1/batches/{first['request_id']}:retry", timeout=60).json()
    second = finish(pair.http, again["request_id"])

    assert [(item["bk_host_id"], item["outcome"]) for item in second["items"]] == [(999_999, "failed")]
    assert count_rows(pair.postgres) == before
