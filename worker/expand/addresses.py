"""Bind addresses: literals in an instance, an enum in a template (CMDB M/process.go:895-1064)."""

from collections.abc import Mapping
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from worker.expand.catalogue import Host

PROTOCOL_FAMILY: Final = {"1": 4, "2": 4, "3": 6, "4": 6}
"""The IP version behind each protocol: "1" TCP, "2" UDP, "3" TCP6, "4" UDP6."""

TEMPLATE_IP_FAMILY: Final = {"1": 4, "2": 4, "3": 4, "4": 4, "5": 6, "6": 6, "7": 6, "8": 6}
"""The IP version behind each address a template can name."""

_LITERALS: Final = {"1": "127.0.0.1", "2": "0.0.0.0", "5": "::1", "6": "::"}  # noqa: S104 - CMDB's "any address", stored as data
_HOST_FIELDS: Final[Mapping[str | None, str]] = {
    "3": "bk_host_innerip",
    "4": "bk_host_outerip",
    "7": "bk_host_innerip_v6",
    "8": "bk_host_outerip_v6",
}
_LONGEST_LITERAL: Final = 45


@lru_cache(maxsize=4096)
def canonical_ip(text: str) -> tuple[str, int] | None:
    """Return the one spelling under which an address is stored and its version, or None when `text` is no address.

    IPv4 is four plain decimal octets. IPv6 is RFC 5952's form, IPv4-mapped addresses in mixed notation; a scope id
    (``fe80::1%eth0``) means something on one machine only and is no address here.
    """
    if len(text) > _LONGEST_LITERAL or "%" in text:
        return None
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return _spell(address), address.version


def _spell(address: IPv4Address | IPv6Address) -> str:
    # Python writes mapped addresses differently from 3.13 on; what is stored must not depend on that.
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return f"::ffff:{address.ipv4_mapped}"
    return str(address)


def depends_on_host(value: str | None) -> bool:
    """Whether a template's ip column means another address on another host."""
    return value in _HOST_FIELDS


def resolve_template_ip(value: str | None, host: Host) -> str:
    """Return the address that a template's ip column means on `host`.

    "1" loopback, "2" any, "3" first inner, "4" first outer, "5" IPv6 loopback, "6" any IPv6, "7" first inner IPv6, "8"
    first outer IPv6. An address that the host does not have, and an empty column, is "" (CMDB
    M/process_bind_info.go:666-720).
    """
    if not value:
        return ""
    literal = _LITERALS.get(value)
    if literal is not None:
        return literal
    field = _HOST_FIELDS.get(value)
    if field is None:
        return ""
    addresses: str = getattr(host, field)
    first = addresses.partition(",")[0].strip()
    found = canonical_ip(first)
    return first if found is None else found[0]
