"""Every row of the table on v1 and on a compat path, with a real worker: the code, the field, and no row written."""

from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from tests.acceptance.bad_values import CASES, Case
from tests.acceptance.calls import ESB, count_rows, instance_rows, unbound
from tests.acceptance.pair import Pair

REFUSED = [case for case in CASES if case.code]
TAKEN = [case for case in CASES if not case.code]


@pytest.fixture(scope="module")
def http(pair: Pair) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=pair.http, timeout=60) as client:
        yield client


def ended(http: httpx2.Client, body: dict[str, Any], **headers: str) -> dict[str, Any]:
    """The report of a request, after its end."""
    response = http.post("/v1/batches", json=body, headers={"Prefer": "wait=20", **headers})
    assert response.status_code == 200, response.text
    report: dict[str, Any] = response.json()
    return report


def test_bad_value_is_refused_in_both_styles(pair: Pair, http: httpx2.Client, subtests: pytest.Subtests) -> None:
    before = count_rows(pair.postgres)
    for case in REFUSED:
        with subtests.test(str(case)):
            report = ended(http, case.body)
            old = http.post(ESB, json=case.body).json()

            assert (report["status"], report["code"], old["code"]) == ("FAILED", case.code, case.code)
            assert report["errors"][0]["path"] == case.path
            assert old["message"] == report["message"]
            assert (old["result"], old["data"]) == (False, None)
    assert count_rows(pair.postgres) == before


@pytest.mark.parametrize("case", TAKEN, ids=str)
def test_odd_value_is_taken_in_both_styles_and_what_was_ignored_is_named(http: httpx2.Client, case: Case) -> None:
    report = ended(http, case.body)
    old = http.post(ESB, json=case.body).json()

    assert (report["status"], old["result"], old["data"]) == ("SUCCESS", True, report["data"])
    assert (case.path in {warning["path"] for warning in report["warnings"]}) == bool(case.path)


def test_same_host_twice_alike_is_one_row_and_unlike_names_both_36(http: httpx2.Client) -> None:
    [alike] = [case for case in CASES if case.number == 35]
    [unlike] = [case for case in CASES if case.number == 36]

    twice = ended(http, alike.body)
    refused = ended(http, unlike.body)

    first, second = twice["items"]
    assert first["service_instance_id"] == second["service_instance_id"]
    assert (second["outcome"], second["warnings"][0]["reason"]) == ("existing", "duplicate_in_request")
    assert "instances[0]" in refused["message"]
    assert "instances[1]" in refused["message"]


def test_text_is_stored_as_data_whatever_it_looks_like_67(pair: Pair, http: httpx2.Client) -> None:
    texts = {
        "bk_process_name": "'; DROP TABLE process; --",
        "bk_func_name": "Robert'); DELETE FROM module; --",
        "start_cmd": "$(reboot) `id` && echo {{7*7}} ${jndi:ldap://x} %s %(x)s {0} \\x00",
        "stop_cmd": "\x1b[31m\r\nSet-Cookie: x=1",
        "description": "<script>alert(1)</script> \U0001f4a5 名",
        "user": "../../etc/passwd",
        "work_path": "=cmd|' /C calc'!A0",
        "pid_file": "' OR '1'='1",
    }
    body = unbound(98)
    body["instances"][0]["processes"][0]["process_info"] |= texts
    body["instances"][0]["service_instance_name"] = "x'); TRUNCATE service_instance; --"
    before = count_rows(pair.postgres)

    headers = {"Idempotency-Key": "';DROP--", "X-Request-Id": "';--", "X-Bkcmdb-Supplier-Account": "0"}
    report = ended(http, body | {"bk_username": "admin'; DROP ROLE x; --"}, **headers)

    stored = instance_rows(pair.postgres, report["data"][0])
    assert {name: stored["processes"][0][name] for name in texts} == texts
    assert stored["name"] == "x'); TRUNCATE service_instance; --"
    added = {table: count - before[table] for table, count in count_rows(pair.postgres).items()}
    assert added == {"service_instance": 1, "process": 1, "process_bind_info": 1, "audit_log": 1}


@pytest.mark.bad_input(41, "more rows than a statement has parameters for", "written all the same")
def test_rows_beyond_the_parameters_of_a_statement_are_written(pair: Pair, http: httpx2.Client) -> None:
    rows = [{"template_row_id": n, "ip": "", "port": str(n), "protocol": "1"} for n in range(1, 41)]
    info = [{"bk_process_name": f"p{n}", "bk_func_name": f"p{n}", "bind_info": rows} for n in range(100)]
    body = unbound(99)
    body["instances"][0]["processes"] = [{"process_info": process} for process in info]

    report = ended(http, body)

    stored = instance_rows(pair.postgres, report["data"][0])
    # Nine columns each: more than the 2**15 - 1 parameters that a statement may have.
    assert sum(len(process["bind_info"]) for process in stored["processes"]) == 4_000


@pytest.mark.parametrize(
    "query", ["cursor=' OR 1=1--", "order=id;DROP TABLE x", "status=SUCCESS'--", "bk_biz_id=1 OR 1=1", "limit=1;--"]
)
def test_query_is_never_part_of_a_statement_113(http: httpx2.Client, query: str) -> None:
    answer = http.get("/v1/batches", params=dict([query.split("=", 1)]))
    assert answer.status_code == 400
