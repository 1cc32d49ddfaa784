"""Bind addresses: literals of an instance (3.2) and the enum of a template (3.3, 3.5)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.expand.bind_columns import canonical_ip, resolve_template_ip
from worker.expand.catalogue import Host

HOST = Host(1, "10.0.0.1,10.0.0.2", "203.0.113.1,203.0.113.2", "fd00::1,fd00::2", "2001:db8::1,2001:db8::2")


@pytest.mark.rule("3.5", "a template's ip enum: fixed literals, or the first of the host's addresses")
@pytest.mark.parametrize(
    ("enum", "address"),
    [
        ("1", "127.0.0.1"),
        ("2", "0.0.0.0"),
        ("3", "10.0.0.1"),
        ("4", "203.0.113.1"),
        ("5", "::1"),
        ("6", "::"),
        ("7", "fd00::1"),
        ("8", "2001:db8::1"),
        ("", ""),
        (None, ""),
    ],
)
def test_template_ip_is_resolved_against_the_host(enum, address):
    assert resolve_template_ip(enum, HOST) == address


@pytest.mark.rule("A18", 'an address the host does not have is stored as ""')
@pytest.mark.parametrize(
    ("enum", "address"), [("3", ""), ("4", ""), ("7", ""), ("8", ""), ("1", "127.0.0.1"), ("6", "::")]
)
def test_address_the_host_does_not_have_is_empty(enum, address):
    assert resolve_template_ip(enum, Host(1)) == address


@pytest.mark.rule("3.5", "an IPv6 address of the host is stored as CMDB shows it", ours="in canonical form")
def test_address_of_the_host_is_stored_in_canonical_form():
    full = "fd00:0000:0000:0000:0000:0000:0000:00AB"
    assert resolve_template_ip("7", Host(1, bk_host_innerip_v6=f" {full} ,fd00::2")) == "fd00::ab"


@pytest.mark.rule("3.2", "an instance's ip is an IPv4 or IPv6 literal", ours="IPv6 is stored in canonical form")
@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("127.0.0.1", ("127.0.0.1", 4)),
        ("0.0.0.0", ("0.0.0.0", 4)),
        ("255.255.255.255", ("255.255.255.255", 4)),
        ("::", ("::", 6)),
        ("::1", ("::1", 6)),
        ("FD00:0:0:0:0:0:0:1", ("fd00::1", 6)),
        ("2001:db8:0:0:1:0:0:1", ("2001:db8::1:0:0:1", 6)),
        ("::ffff:1.2.3.4", ("::ffff:1.2.3.4", 6)),
        ("::FFFF:102:304", ("::ffff:1.2.3.4", 6)),
        ("0:0:0:0:0:ffff:255.255.255.255", ("::ffff:255.255.255.255", 6)),
    ],
)
def test_literal_has_one_spelling(text, stored):
    assert canonical_ip(text) == stored


@pytest.mark.rule("A17", 'the enum "1".."8" is no address in an instance')
@pytest.mark.parametrize("text", list("12345678"))
def test_the_enum_of_a_template_is_no_literal(text):
    assert canonical_ip(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "", "999.1.1.1", "127.1", "0177.0.0.1", "0x7f.0.0.1", "2130706433", "1.1.1.1/32", "1.1.1", "1.1.1.1.1",
        " 1.1.1.1", "1.1.1.1 ", "1.1.1.1\n", "1.1.1.1\x00", "١.١.١.١", "localhost", "fe80::1%eth0", "fe80::1%",
        "::1/128", "[::1]", ":::", "1::2::3", "::g", "12345::", "1" * 5000, "::" + "1" * 5000,
    ],
)  # fmt: skip
def test_anything_else_is_no_address(text):
    assert canonical_ip(text) is None


@pytest.mark.rule("3.2", "IPv4 octets may have a leading zero (01)", ours="refused: some readers take them as octal")
def test_leading_zero_is_refused():
    assert canonical_ip("127.0.0.01") is None


@given(st.ip_addresses())
def test_canonical_form_is_its_own(address):
    text, version = canonical_ip(str(address))
    assert version == address.version
    assert canonical_ip(text) == (text, version)
    assert canonical_ip(address.exploded) == (text, version)
    assert len(text) <= 45
