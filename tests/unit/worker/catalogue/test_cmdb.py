"""How a live CMDB is addressed, and how long it may keep us waiting."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx2
import pytest

from worker.catalogue.cmdb import LONGEST_WAIT_S, Cmdb, CmdbRefused, _retry_after


def retry_after(text: str | None) -> float | None:
    return _retry_after(httpx2.Response(429, headers={} if text is None else {"Retry-After": text}))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("7", 7.0),
        (" 7 ", 7.0),
        ("99999", LONGEST_WAIT_S),
        ("-1", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
        (None, None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", LONGEST_WAIT_S),
    ],
)
def test_retry_after_is_seconds_or_a_date(text: str | None, seconds: float | None) -> None:
    assert retry_after(text) == seconds


def test_retry_after_counts_from_now() -> None:
    seconds = retry_after(format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True))
    assert seconds is not None
    assert 0 < seconds <= 60


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("http://cmdb:8080", "http://cmdb:8080"),
        ("https://bk-cmdb.apigw.example.com/prod/", "https://bk-cmdb.apigw.example.com/prod"),
        ("https://paas.example.com/api/c/compapi", "https://paas.example.com/api/c/compapi/v2/cc"),
        ("https://paas.example.com/api/c/compapi/v2/cc/", "https://paas.example.com/api/c/compapi/v2/cc"),
    ],
)
def test_url_is_that_of_a_surface(given: str, used: str) -> None:
    with Cmdb(given) as cmdb:
        assert cmdb.url == used


@pytest.mark.parametrize(
    "url",
    ["", "cmdb", "ftp://cmdb", "http://", "http://user:secret@cmdb", "http://cmdb/?bk_token=secret", "http://[::"],
)
def test_url_that_cannot_be_asked_is_refused_without_being_shown(url: str) -> None:
    with pytest.raises(CmdbRefused) as refused:
        Cmdb(url)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("text", ["", "secret", "[]", '"secret"', "{secret"])
def test_authorization_is_a_json_object_and_not_shown_otherwise(text: str) -> None:
    with pytest.raises(CmdbRefused) as invalid:
        Cmdb("http://cmdb", text)
    assert "secret" not in str(invalid.value)
