"""The pages: what a browser gets where a program gets JSON."""

import html
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx2
import pytest

from api_shim.http.openapi_answers import ITEM, REPORT
from contract.answer.report import Report
from contract.answer.status import Item, Outcome, Problem, Warning_, failed_item, process_item
from contract.codes import Code, Reason, Refused
from tests.integration.api_shim.http.door_client import ESB_PATH, V1_PATH, Client

BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"}
HOSTILE = "<script>alert('1')</script>"


def _submitted(door: Client, **more: Any) -> str:
    body = {"bk_biz_id": 1, "bk_module_id": 60, "instances": [{"bk_host_id": 2}], **more}
    answer = door.post(V1_PATH, body)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["request_id"])


def _ended(door: Client, items: list[Item], **more: Any) -> str:
    """The id of a request that has ended as a worker ends it."""
    request_id = _submitted(door)
    about: dict[str, Any] = {"bk_biz_id": 1, "bk_module_id": 60, "created_at": datetime.now(tz=UTC), **more}
    report = Report.settled(items, request_id=request_id, finished_at=datetime.now(tz=UTC), **about)
    door.run(door.door.submitter.requests.publish(report))
    return request_id


def _created(index: int, name: str = "nginx") -> Item:
    processes = [process_item(Outcome.CREATED, 7, name, 5000 + index)]
    item: Item = {"index": index, "bk_host_id": index + 1, "outcome": Outcome.CREATED}
    return {**item, "service_instance_id": 1000 + index, "processes": processes}


def _failed(index: int) -> Item:
    return failed_item(index, 999, Refused(Code.HOST_NOT_IN_MODULE, [999], path=f"instances[{index}].bk_host_id"))


def _text(answer: httpx2.Response) -> str:
    """What a reader sees of a page."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", answer.text)).split())


def _page(door: Client, path: str, **headers: str) -> str:
    answer = door.get(path, headers={**BROWSER, **headers})
    assert answer.status_code == 200, answer.text
    return _text(answer)


def test_browser_gets_a_page_and_everybody_else_json(door: Client) -> None:
    path = f"/v1/batches/{_submitted(door)}"
    for accept in (None, "*/*", "application/json", "application/json, text/html", "text/html;q=0, */*"):
        answer = door.get(path, headers={} if accept is None else {"Accept": accept})
        assert answer.headers["Content-Type"] == "application/json"
        assert "Accept" in answer.headers["Vary"]
    page = door.get(path, headers=BROWSER)
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "Accept" in page.headers["Vary"]
    assert door.get(path, headers={**BROWSER, "If-None-Match": page.headers["ETag"]}).status_code == 304
    assert door.get("/").json()["code"] == Code.COMPONENT_NOT_FOUND


def test_page_opens_by_a_link_on_which_somebody_has_hung_parameters(door: Client) -> None:
    for path in ("/", "/v1/jobs", f"/v1/batches/{_submitted(door)}"):
        assert door.get(f"{path}?from=singlemessage&utm_source=chat", headers=BROWSER).status_code == 200


def test_lists_are_pages_at_their_own_addresses_too(door: Client) -> None:
    request_id = _submitted(door)
    job = door.post("/v1/jobs", {"bk_biz_id": 1, "bk_module_id": 60, "instances": [{"bk_host_id": 2}]}).json()
    assert request_id in _page(door, "/v1/batches")
    assert request_id not in _page(door, "/v1/batches?status=SUCCESS")
    assert job["job_id"] in _page(door, "/v1/jobs")
    assert door.get("/v1/jobs").json()["jobs"][0]["job_id"] == job["job_id"]


def test_page_may_load_nothing_but_its_own_files(door: Client) -> None:
    page = door.get("/", headers=BROWSER)
    policy = dict(part.strip().split(" ", 1) for part in page.headers["Content-Security-Policy"].split(";"))
    assert policy.pop("default-src") == "'none'"
    assert policy.pop("base-uri") == policy.pop("frame-ancestors") == "'none'"
    assert set(policy.values()) == {"'self'"}
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script>|javascript:", page.text)
    for address in re.findall(r'(?:href|src)="(/assets/[^"]+)"', page.text):
        found = door.get(html.unescape(address))
        assert (found.status_code, found.headers["X-Content-Type-Options"]) == (200, "nosniff")
        assert len(found.content) < 10_000
    assert door.get("/assets/../app.py").status_code == door.get("/assets/base.html").status_code == 404


def test_request_that_waits_refreshes_itself_and_can_be_cancelled(door: Client) -> None:
    request_id = _submitted(door, colour="red")
    page = door.get(f"/v1/batches/{request_id}", headers=BROWSER)
    assert "colour not a field of this interface; ignored" in _text(page)
    assert re.search(r'<noscript><meta http-equiv="refresh" content="\d+"></noscript>', page.text)
    assert 'data-refresh="' in page.text
    assert "Waiting It waits for a worker." in _text(page)
    assert f"bksi cancel {request_id}" in _text(page)

    [action] = re.findall(r'<form method="post" action="([^"]+)"', page.text)
    answer = door.call("POST", action, headers={**BROWSER, "Content-Type": "application/x-www-form-urlencoded"})
    assert (answer.status_code, answer.headers["Location"]) == (303, f"/v1/batches/{request_id}")
    page = door.get(answer.headers["Location"], headers=BROWSER)
    assert "Cancelled It was cancelled." in _text(page)
    assert "refresh" not in re.sub(r'"/assets/[^"]+"', "", page.text)

    [action] = re.findall(r'<form method="post" action="([^"]+)"', page.text)
    again = door.call("POST", action, headers=BROWSER)
    assert (again.status_code, action) == (303, f"/v1/batches/{request_id}:retry")
    assert again.headers["Location"] != f"/v1/batches/{request_id}"


def test_request_that_has_ended_shows_each_instance_and_what_to_do(door: Client) -> None:
    differs = [Warning_(path="instances[0].processes[0].user", reason=Reason.DIFFERS)]
    ignored = (Warning_(path="colour", reason=Reason.UNKNOWN_FIELD),)
    items: list[Item] = [{**_created(0), "warnings": differs}, _failed(1)]
    page = _page(door, f"/v1/batches/{_ended(door, items, warnings=ignored)}")
    assert "colour not a field of this interface; ignored" in page
    assert "Partly failed" in page
    assert "1 created 1 failed" in page
    assert "0 1 created 1000 nginx process 5000, template 7, created" in page
    assert "the existing row has another value and was left as it is: instances[0].processes[0].user" in page
    assert "1110056 These hosts are not in the module: 999 (instances[1].bk_host_id)" in page
    assert page.count("Transfer the hosts to the module in CMDB first") == 2


def test_request_that_is_handed_on_shows_cmdbs_ids_and_what_it_says(door: Client) -> None:
    request_id = _submitted(door)
    now = datetime.now(tz=UTC)
    about: dict[str, Any] = {"request_id": request_id, "bk_biz_id": 1, "bk_module_id": 60, "created_at": now}
    report = Report.settled([_created(0)], finished_at=now, **about).to_deliver(is_awaited=False)
    refused = Problem(code=Code.NOT_DELIVERED, message_args=(1110056, "not in the module"))
    report = report.delivered({1000: 72}, {5000: 73}, problem=refused, finished_at=now, expires_at=now)
    door.run(door.door.submitter.requests.publish(report))

    page = _page(door, f"/v1/batches/{request_id}")
    assert "In CMDB no" in page
    assert "CMDB did not take the rows: 1110056 not in the module" in page
    assert "1000 in CMDB 72" in page
    shown = door.get(f"{V1_PATH}/{request_id}").json()
    assert (shown["delivery"], shown["items"][0]["cmdb_id"]) == ("FAILED", 72)
    assert set(shown) <= set(REPORT["properties"])
    assert set(shown["items"][0]) <= set(ITEM["properties"])


def test_instances_are_paged_and_narrowed_down(door: Client) -> None:
    path = f"/v1/batches/{_ended(door, [*map(_created, range(60)), _failed(60)])}"
    first = door.get(path, headers=BROWSER)
    assert first.text.count("<tr>") == 1 + 50
    [following] = re.findall(r'href="([^"]+)" rel="next"', first.text)
    assert door.get(path + html.unescape(following), headers=BROWSER).text.count("<tr>") == 1 + 11
    assert re.findall(r'href="([^"]+)" rel="next"', door.get(f"{path}?limit=7", headers=BROWSER).text)[0].startswith(
        "?limit=7&amp;cursor="
    )
    assert door.get(f"{path}?outcome=failed", headers=BROWSER).text.count("<tr>") == 1 + 1
    assert door.get(f"{path}?outcome=gone", headers=BROWSER).status_code == 400


@pytest.mark.bad_input(
    123, "markup in names and keys, shown on a page", "shown as text; no script runs but the page's own"
)
def test_markup_of_a_caller_is_shown_as_text(door: Client) -> None:
    warnings = (Warning_(path=HOSTILE, reason=HOSTILE),)
    page = door.get(f"/v1/batches/{_ended(door, [_created(0, HOSTILE)], warnings=warnings)}", headers=BROWSER)
    assert HOSTILE in _text(page) or html.escape(HOSTILE) in page.text
    assert "<script>" not in page.text
    searched = door.get(f"/?id={HOSTILE.replace('<', '%3C')}&bk_biz_id=1&lang=zh", headers=BROWSER)
    assert "<script>" not in searched.text


def test_page_speaks_both_languages(door: Client) -> None:
    path = f"/v1/batches/{_ended(door, [_failed(0)])}"
    for headers in ({"blueking-language": "zh-cn"}, {"Accept-Language": "zh-CN,zh;q=0.9,en;q=0.8"}):
        page = door.get(path, headers={**BROWSER, **headers})
        assert page.headers["Content-Language"] == "zh-CN"
        assert '<html lang="zh-CN">' in page.text
        assert "没有创建任何实例" in page.text
        assert "先在 CMDB 中将主机转移到该模块" in page.text
    english = door.get(f"{path}?lang=en", headers={**BROWSER, "Accept-Language": "zh"})
    assert "Nothing was created." in english.text
    assert 'href="?lang=zh"' in english.text
    assert 'href="/?lang=en"' in english.text


def test_list_shows_own_requests_filters_pages_and_finds(door: Client) -> None:
    ids = [_submitted(door, client_request_id=f"order-{number}") for number in range(26)]
    ended = _ended(door, [_created(0)])
    first = door.get("/", headers=BROWSER)
    assert first.text.count("<tr>") == 1 + 25
    [older] = re.findall(r'href="([^"]+)" rel="next"', first.text)
    assert ids[0] in _page(door, "/" + html.unescape(older))
    assert ended in _page(door, "/?status=SUCCESS&bk_biz_id=1&bk_module_id=")
    assert "No requests here." in _page(door, "/?status=FAILED&bk_biz_id=&bk_module_id=")
    assert door.get("/?bk_biz_id=x", headers=BROWSER).status_code == 400

    for asked, found in ((ended, ended), (f" {ids[3]} ", ids[3]), ("order-7", ids[7])):
        answer = door.get("/", params={"id": asked, "lang": "zh"}, headers=BROWSER)
        assert (answer.status_code, answer.headers["Location"]) == (303, f"/v1/batches/{found}?lang=zh")
    assert "Nothing of yours is known under this id or key." in _page(door, "/?id=order-99")


def test_job_shows_its_batches_and_instances(door: Client) -> None:
    instances = [{"bk_host_id": host} for host in range(1, 152)]
    body = {"bk_biz_id": 1, "bk_module_id": 60, "instances": instances}
    accepted = door.post("/v1/jobs", body, headers={"Idempotency-Key": "delivery-1"})
    job_id = accepted.json()["job_id"]
    page = door.get(f"/v1/jobs/{job_id}", headers=BROWSER)
    assert "Waiting" in page.text
    assert 'data-refresh="' in page.text
    assert len(re.findall(r'href="/v1/batches/[0-9a-f]{32}"', page.text)) == 2
    assert job_id in _page(door, "/?show=jobs")
    for asked in (job_id, "delivery-1"):
        assert door.get(f"/?id={asked}", headers=BROWSER).headers["Location"] == f"/v1/jobs/{job_id}"

    [action] = re.findall(r'<form method="post" action="([^"]+)"', page.text)
    assert door.call("POST", action, headers=BROWSER).headers["Location"] == f"/v1/jobs/{job_id}"
    page = door.get(f"/v1/jobs/{job_id}?show=items&outcome=skipped", headers=BROWSER)
    assert page.text.count("<tr>") == 1 + 50
    assert "Cancelled" in page.text
    assert "151 skipped" in _text(page)
    assert f"bksi jobs retry {job_id}" in page.text
    retried = door.call("POST", f"/v1/jobs/{job_id}:retry", headers=BROWSER)
    assert re.fullmatch(r"/v1/jobs/[0-9a-f]{32}", retried.headers["Location"])


def test_refusal_is_a_page_to_a_browser(door: Client, unknown_id: str) -> None:
    for path, status, code in (
        (f"/v1/batches/{unknown_id}", 404, 1190002),
        (f"/v1/jobs/{unknown_id}", 404, 1190002),
        ("/nowhere", 404, 1306404),
        ("/?cursor=x", 400, 1199006),
    ):
        answer = door.get(path, headers=BROWSER)
        assert (answer.status_code, answer.headers["Content-Type"]) == (status, "text/html; charset=utf-8")
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert f"{code}" in answer.text
        assert "What to do" in answer.text
    assert door.post(ESB_PATH, b"", headers=BROWSER).json()["code"] == Code.BODY_EMPTY


def test_dry_run_says_that_nothing_was_written(door: Client) -> None:
    request_id = _submitted(door)
    about: dict[str, Any] = {"bk_biz_id": 1, "bk_module_id": 60, "created_at": datetime.now(tz=UTC)}
    report = Report.previewed([_created(0)], [{"name": HOSTILE}], request_id=request_id, **about)
    door.run(door.door.submitter.requests.publish(report))
    page = door.get(f"/v1/batches/{request_id}", headers=BROWSER)
    assert "Dry run: nothing was written." in page.text
    assert "<script>" not in page.text
    assert door.get("/v1/batches", headers=BROWSER).text.count("<small>dry run</small>") == 1


def test_page_of_another_applications_request_is_not_found(
    open_door: Callable[..., Client], apps_file: Callable[[str], Any]
) -> None:
    """See test_identity.py for who is let in."""
    from api_shim.identity.applications import hash_secret

    apps = "".join(f'[apps.{app}]\nsecrets = ["{hash_secret(app)}"]\nbk_biz_ids = "*"\n' for app in ("one", "two"))
    door = open_door(apps_file=apps_file(apps))
    body = {"bk_biz_id": 1, "bk_module_id": 60, "instances": [{"bk_host_id": 2}]}
    request_id = door.call("POST", V1_PATH, json=body, auth=("one", "one")).json()["request_id"]
    assert request_id in door.get("/", headers=BROWSER, auth=("one", "one")).text
    assert request_id not in door.get("/", headers=BROWSER, auth=("two", "two")).text
    assert door.get(f"/?id={request_id}", headers=BROWSER, auth=("one", "one")).status_code == 303
