"""Headers that say how the caller would like to be answered."""

import pytest
from starlette.datastructures import Headers

from api_shim.http.body import is_json
from api_shim.http.exchange import all_of, names, negotiate, preferred_wait, prefers_page


@pytest.mark.parametrize(
    ("headers", "language"),
    [
        ({}, "en"),
        ({"blueking-language": "zh-cn"}, "zh"),
        ({"blueking-language": "en", "accept-language": "zh"}, "en"),
        ({"x-bkcmdb-language": "zh-hans"}, "zh"),
        ({"accept-language": "zh-CN,zh;q=0.9,en;q=0.8"}, "zh"),
        ({"accept-language": "en;q=0.8, zh;q=0.9"}, "zh"),
        ({"accept-language": "fr, zh;q=0"}, "en"),
        ({"accept-language": "zh;q=nan, en;q=0.1"}, "en"),
        ({"accept-language": ";;,,q=,=" * 500}, "en"),
    ],
)
def test_language_is_what_the_caller_prefers(headers: dict[str, str], language: str) -> None:
    assert negotiate(Headers(headers)) == language


def test_list_that_comes_in_several_lines_is_one_list() -> None:
    lines = [("accept-language", "fr"), ("accept-language", "zh"), ("prefer", "respond-async"), ("prefer", "wait=3")]
    headers = Headers(raw=[(name.encode(), value.encode()) for name, value in lines])
    assert (negotiate(headers), preferred_wait(all_of(headers, "prefer"), 20)) == ("zh", 3)


@pytest.mark.parametrize(
    ("accept", "is_page"),
    [
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", True),
        ("text/html", True),
        ("TEXT/HTML; charset=utf-8; q=0.7, */*;q=0.1", True),
        ("text/html, application/json;q=0.9", True),
        ("text/html, application/json", False),
        ("text/html;q=0.5, application/*", False),
        ("text/html;q=0, text/*", False),
        ("text/html;q=x, */*;q=0.1", False),
        ("application/json", False),
        ("text/*", False),
        ("*/*", False),
        ("", False),
    ],
)
def test_page_is_for_who_names_html_and_prefers_it(accept: str, is_page: bool) -> None:
    assert prefers_page(accept) is is_page


@pytest.mark.parametrize(
    ("accept", "is_named"),
    [
        ("application/x-ndjson", True),
        ("application/json, Application/X-NDJSON;q=0.5", True),
        ("application/json, application/x-ndjson;q=0", False),
        ("*/*", False),
        ("", False),
    ],
)
def test_media_type_is_named_unless_it_is_unwanted(accept: str, is_named: bool) -> None:
    assert names(accept, "application/x-ndjson") is is_named


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("", None),
        ("wait=5", 5),
        ("respond-async, WAIT = 5", 5),
        ('wait="5"', 5),
        ("wait=5; foo=bar", 5),
        ("wait=999999", 20),
        ("wait=0", 0),
        ("wait=-1", None),
        ("wait=1.5", None),
        ("wait=٥", None),
        ("wait", None),
        ("wait=" + "9" * 5000, None),
    ],
)
def test_wait_is_granted_up_to_the_maximum(header: str, seconds: int | None) -> None:
    assert preferred_wait(header, 20.0) == seconds


@pytest.mark.parametrize(
    ("content_type", "taken"),
    [
        ("application/json", True),
        ("Application/JSON; Charset=UTF-8", True),
        ('application/json;charset="utf-8"', True),
        ("application/json; charset=gbk", False),
        ("application/problem+json", False),
        ("", False),
    ],
)
def test_media_type_is_json_in_utf8(content_type: str, taken: bool) -> None:
    assert is_json(content_type) is taken
