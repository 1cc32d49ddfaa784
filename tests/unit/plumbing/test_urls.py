import pytest

from plumbing.urls import is_local, require_readable, without_secrets

TWO = "postgresql://user:secret@one:5432,[::1]:5433/db?target_session_attrs=any"


def test_url_may_name_several_servers() -> None:
    assert require_readable(TWO) == TWO
    assert without_secrets(TWO) == "postgresql://one:5432,[::1]:5433/db"


def test_server_that_stands_in_the_query_is_shown_and_nothing_else_of_it() -> None:
    shown = without_secrets(
        "postgresql://u:secret@/db?host=/run/postgresql,far&port=5433&password=secret&sslkey=secret"
    )
    assert shown == "postgresql:///db?host=/run/postgresql,far&port=5433"


@pytest.mark.parametrize(
    ("url", "local"),
    [
        (TWO, False),
        ("postgresql://user@127.0.0.1:5432,localhost:5433/db", True),
        ("postgresql:///db?host=/run/postgresql", True),
        ("postgresql:///db?host=/run/postgresql,far", False),
        ("postgresql://far/db", False),
    ],
)
def test_it_is_local_when_all_of_them_are(url: str, local: bool) -> None:
    assert is_local(url) is local


@pytest.mark.parametrize("url", ["postgresql://user:secret:@/x@three/db", "redis://:a/b@host/0", "redis://host:0/0"])
def test_url_whose_parts_cannot_be_told_apart_is_refused_without_its_text(url: str) -> None:
    with pytest.raises(ValueError, match="not a URL") as caught:
        require_readable(url)
    assert "secret" not in str(caught.value)
