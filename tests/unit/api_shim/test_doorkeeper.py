import pytest

from api_shim.identity.doorkeeper import Doorkeeper


@pytest.mark.parametrize(
    ("peer", "forwarded", "found"),
    [
        ("192.0.2.1", "", "192.0.2.1"),
        ("::ffff:192.0.2.1", "", "192.0.2.1"),
        ("2001:db8:0:1::2", "", "2001:db8:0:1::/64"),
        ("::ffff:10.0.0.1", "192.0.2.7", "192.0.2.7"),
        ("10.0.0.1", "192.0.2.7, ::ffff:10.9.9.9", "192.0.2.7"),
        ("192.0.2.1", "192.0.2.7", "192.0.2.1"),
        ("10.0.0.1", "no address", "10.0.0.1"),
        ("", "", ""),
    ],
)
def test_address_is_that_of_one_customer_however_the_socket_writes_it(peer: str, forwarded: str, found: str) -> None:
    """Else all of IPv4 would be one customer to a server that listens at ``::``, and no proxy of it be trusted."""
    doorkeeper = Doorkeeper(None, ["10.0.0.0/8"])
    assert doorkeeper.address({"x-forwarded-for": forwarded}, peer or None) == found
