"""What is said on the ``done`` channel, and how it is read."""

from hypothesis import given
from hypothesis import strategies as st

from contract.message import new_request_id
from contract.redis.records import read_done

IDS = st.lists(st.builds(new_request_id), max_size=20, unique=True)
REPORTS = st.dictionaries(
    st.builds(new_request_id), st.binary().map(lambda b: b"{" + b.hex().encode() + b"}"), min_size=1
)


@given(IDS)
def test_ids_alone_come_without_reports(ids: list[str]) -> None:
    assert read_done(" ".join(ids).encode()) == dict.fromkeys(ids)


@given(REPORTS)
def test_each_id_comes_with_its_report(reports: dict[str, bytes]) -> None:
    message = b"\n".join([" ".join(reports).encode(), *reports.values()])

    assert read_done(message) == reports


def test_message_that_lacks_a_report_counts_as_ids_alone() -> None:
    assert read_done(b"one two\n{}") == {"one": None, "two": None}
