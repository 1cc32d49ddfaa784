"""The port grammar (3.4): one table, read by an instance and by a template."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.expand.bind_columns import is_template_port, port_range

# text, good in an instance, good in a template
TABLE = [
    ("80", True, True),
    ("1", True, True),
    ("65535", True, True),
    ("8080-8089", True, True),
    ("80-80", True, True),
    ("1-65535", True, True),
    ("0", False, False),
    ("65536", False, False),
    ("99999", False, False),
    ("100000", False, False),
    ("08", False, False),
    ("080", False, False),
    ("+80", False, False),
    ("-80", False, False),
    ("80-", False, False),
    ("80--90", False, False),
    ("80-90-100", False, False),
    ("80 - 90", False, False),
    ("0-80", False, False),
    ("80-65536", False, False),
    ("80.0", False, False),
    ("0x50", False, False),
    ("8e1", False, False),
    ("http", False, False),
    ("", False, False),
    (",", False, False),
    ("80,", False, False),
    (",80", False, False),
    ("80,,90", False, False),
    ("80\n", False, False),
    ("80\x00", False, False),
    ("٨٠", False, False),
    ("８０", False, False),
    ("8²", False, False),
    ("80,443", False, True),
    ("8008,8443", False, True),
    ("8080-8089,8199", False, True),
    ("8199,8080-8089", False, True),
    ("80,80", False, False),
    ("80-90,85", False, False),
    ("85,80-90", False, False),
    ("80-90,90-100", False, False),
    ("80-90,91-100", False, True),
    ("80, 443", False, False),
    ("9" * 1_000_000, False, False),
    ("80," * 300_000, False, False),
]


@pytest.mark.rule("3.4", "instance: one number or one range of 1..65535, no sign, leading zero or blank")
@pytest.mark.rule("3.4", "template: numbers and ranges joined by commas, start <= end, none overlapping")
@pytest.mark.parametrize(("text", "instance", "template"), TABLE, ids=[repr(row[0][:20]) for row in TABLE])
def test_port(text, instance, template):
    assert (port_range(text) is not None) == instance
    assert is_template_port(text) == template


@pytest.mark.rule("3.4", "instance: a range that runs backwards is accepted", ours="refused, 1199011")
def test_backward_range():
    assert port_range("8089-8080") is None
    assert not is_template_port("8089-8080")


@pytest.mark.rule("3.4", "instance: blanks around the number are accepted and stored", ours="refused, 1199011")
@pytest.mark.parametrize("text", [" 80", "80 ", "\t80", "80\u3000"])
def test_blanks_around(text):
    assert port_range(text) is None
    assert not is_template_port(text)


@given(st.integers(1, 65535), st.integers(1, 65535))
def test_every_pair_in_order_is_a_range(first, last):
    assert port_range(f"{first}-{last}") == ((first, last) if first <= last else None)


@given(st.lists(st.tuples(st.integers(1, 65535), st.integers(0, 50)), min_size=1, max_size=8))
def test_a_list_is_good_when_no_port_comes_twice(items):
    ranges = [(first, min(first + length, 65535)) for first, length in items]
    text = ",".join(f"{first}-{last}" for first, last in ranges)
    ports = [port for first, last in ranges for port in range(first, last + 1)]
    assert is_template_port(text) == (len(ports) == len(set(ports)))


@given(st.text(alphabet="0123456789-, +\n٨", max_size=12))
def test_what_an_instance_takes_a_template_takes(text):
    if port_range(text) is not None:
        assert is_template_port(text)
        assert text.isascii()
