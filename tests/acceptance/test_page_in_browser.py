"""The pages as people see them: in a real Chromium, of a system that runs."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from chaos.nursery import Nursery
from contract.redis.records import Keys
from devstack.running import RunningStack
from tests.acceptance.calls import run, unbound
from tests.acceptance.side import BUGS, Side, side_shim
from tests.browser import CHROMIUM, Browser

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium")
HOSTILE = "<img src=x onerror=alert(1)>"
PHONE = 360


@pytest.fixture(scope="module")
def side(stack: RunningStack, nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Side]:
    """A server with applications, whose requests reach no worker."""
    with side_shim(stack.redis, nursery, tmp_path_factory.mktemp("side"), room=1000) as side:
        for _ in range(BUGS):
            side.ask("POST", "/v1/batches", unbound(1))({})
        yield side


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with Browser() as browser:
        yield browser


@pytest.fixture
def browser(chromium: Browser) -> Browser:
    chromium.anew()
    return chromium


def _url(side: Side) -> str:
    return str(side.http.base_url).rstrip("/")


def _cancel(side: Side, path: str) -> None:
    answer = side.ask("POST", f"{path}:cancel")({})
    assert (answer.status_code, answer.json()["status"]) == (200, "TERMINATED")


def test_page_of_a_request_says_what_became_of_it_and_nothing_of_a_caller_runs(
    stack: RunningStack, browser: Browser
) -> None:
    body = unbound(1, HOSTILE, **{f"{HOSTILE} ": 1})
    request_id = run(stack.http, body)["request_id"]
    assert browser.open(f"{stack.http}/v1/batches/{request_id}") == 200
    assert browser.run("document.querySelector('[role=status]').innerText").startswith("Done")
    assert HOSTILE in browser.run("document.querySelector('main').innerText")
    assert browser.run("document.querySelectorAll('img').length") == 0
    assert browser.run("getComputedStyle(document.querySelector('.pill')).borderRadius") != "0px"
    assert browser.complaints == []
    # Whatever got into a page would not run there either.
    browser.run("document.body.insertAdjacentHTML('beforeend', '<img src=/ onerror=\"window.ran = 1\">')")
    browser.wait_for("document.querySelector('img').complete")
    assert browser.run("window.ran") is None
    assert "Content Security Policy" in browser.complaints[0]


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("language", ["en", "zh"])
def test_page_fits_a_phone_in_both_languages_and_colours(
    stack: RunningStack, browser: Browser, language: str, dark: bool
) -> None:
    instances = [{"bk_host_id": host} for host in (1, 999)]
    batch = {"bk_biz_id": 1, "bk_module_id": 60, "mode": "partial", "instances": instances, "x" * 60: 1}
    request_id = run(stack.http, batch)["request_id"]
    browser.show(PHONE, 740, dark=dark, language=language)
    for path in (f"/v1/batches/{request_id}", "/", "/?show=jobs", "/v1/batches/none"):
        browser.open(stack.http + path)
        assert browser.run("document.documentElement.scrollWidth") == PHONE, path
        assert browser.run("document.documentElement.lang") == ("zh-CN" if language == "zh" else "en")
        red, green, blue = browser.run("getComputedStyle(document.body).backgroundColor.match(/[0-9]+/g).map(Number)")
        assert (red + green + blue < 3 * 128) is dark
    assert [said for said in browser.complaints if "404" not in said] == []


def test_browser_logs_in_sees_its_own_and_the_page_ends_its_refreshing_with_the_request(
    side: Side, browser: Browser
) -> None:
    request_id = side.accept(unbound(1))
    url = f"{_url(side)}/v1/batches/{request_id}"
    browser.log_in("known", "known")
    assert browser.open(_url(side)) == 200
    assert request_id in browser.run("document.querySelector('main').innerText")
    assert browser.open(url) == 200
    assert browser.run("document.querySelector('main').dataset.refresh") is not None
    browser.run("window.sameDocument = true")
    _cancel(side, f"/v1/batches/{request_id}")
    browser.wait_for("document.querySelector('main').dataset.refresh === undefined")
    assert "Cancelled" in browser.run("document.title")
    assert browser.run("window.sameDocument") is True
    assert [said for said in browser.complaints if "401" not in said] == []


def test_buttons_cancel_and_try_again(side: Side, browser: Browser) -> None:
    request_id = side.accept(unbound(1))
    browser.log_in("known", "known")
    browser.open(f"{_url(side)}/v1/batches/{request_id}?lang=zh")
    browser.follow("document.querySelector('button.cancel').click()")
    assert "已取消" in browser.run("document.querySelector('[role=status]').innerText")
    browser.follow("document.querySelector('button.retry').click()")
    assert "等待执行" in browser.run("document.querySelector('[role=status]').innerText")
    following = browser.run("location.pathname")
    assert following != f"/v1/batches/{request_id}"
    _cancel(side, following)


def test_another_applications_request_and_a_wrong_secret_show_nothing(
    stack: RunningStack, side: Side, browser: Browser
) -> None:
    request_id = side.accept(unbound(1))
    browser.log_in("slow", "slow")
    with redis.Redis.from_url(stack.redis) as client:
        # No worker of this server's is there to look it up in vain.
        client.set(Keys("bksi:").unseen("slow", request_id), b"")
    assert browser.open(f"{_url(side)}/v1/batches/{request_id}") == 404
    assert "Waiting" not in browser.run("document.body.innerText")
    _cancel(side, f"/v1/batches/{request_id}")
    browser.anew()
    browser.log_in("known", "wrong")
    assert browser.open(f"{_url(side)}/v1/batches/{request_id}") == 401


def test_page_works_without_scripts(side: Side, browser: Browser) -> None:
    request_id = side.accept(unbound(1))
    browser.without_scripts()
    browser.log_in("known", "known")
    assert browser.open(f"{_url(side)}/v1/batches/{request_id}") == 200
    _cancel(side, f"/v1/batches/{request_id}")
    assert int(browser.run("document.querySelector('meta[http-equiv=refresh]').content")) > 0
    browser.follow("location.reload()")
    assert browser.run("document.querySelector('meta[http-equiv=refresh]')") is None
    assert "Cancelled" in browser.run("document.querySelector('[role=status]').innerText")


def test_page_of_another_site_cannot_cancel(side: Side, browser: Browser, tmp_path: Path) -> None:
    request_id = side.accept(unbound(1))
    target = f"{_url(side)}/v1/batches/{request_id}:cancel"
    page = tmp_path / "evil.html"
    page.write_text(f'<form method="post" action="{target}"></form>')
    browser.log_in("known", "known")
    browser.open(_url(side))
    browser.open(page.as_uri())
    browser.follow("document.forms[0].submit()")
    assert "9900403" in browser.run("document.body.innerText")
    _cancel(side, f"/v1/batches/{request_id}")
