"""What may stand in the columns of a bind row.

An address is a literal in an instance, an enum in a template (CMDB M/process.go:895-1064). A port is one number or one
range in an instance, a comma list in a template (CMDB M/process.go:2055-2106).
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from itertools import pairwise
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

# ASCII digits only: `\d` would also take Arabic or full-width ones.
_PORTS: Final = re.compile(r"([1-9][0-9]{0,4})(?:-([1-9][0-9]{0,4}))?")
_LONGEST_PORTS: Final = len("65535-65535")
_LONGEST_LIST: Final = 256


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


@lru_cache(maxsize=4096)
def port_range(text: str) -> tuple[int, int] | None:
    """Return the first and last port of one number or one range, or None when `text` is neither.

    Ports are 1..65535 in decimal, without sign, leading zero or blanks, and a range does not run backwards.
    """
    if len(text) > _LONGEST_PORTS:
        return None
    match = _PORTS.fullmatch(text)
    if match is None:
        return None
    first = int(match[1])
    last = int(match[2] or first)
    return (first, last) if first <= last <= 65535 else None


def is_template_port(text: str) -> bool:
    """Whether CMDB accepts `text` in a process template: ports and ranges joined by commas, none overlapping."""
    if len(text) > _LONGEST_LIST:
        return False
    ranges = []
    for item in text.split(","):
        found = port_range(item)
        if found is None:
            return False
        ranges.append(found)
    ranges.sort()
    return all(left[1] < right[0] for left, right in pairwise(ranges))
