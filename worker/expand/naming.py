"""The name CMDB gives a service instance that came without one (CMDB CP/service_instance.go:692-725)."""

import hashlib
from collections.abc import Iterable
from typing import Final

from contract.request.batch import MAX_NAME_BYTES
from worker.expand.catalogue import Host

_MAX_KEY_BYTES: Final = 2000
# More characters than a given name has bytes: no caller can send the key of a name that was generated.
_KEPT_OF_A_LONG_NAME: Final = MAX_NAME_BYTES + 1


def generate_name(host: Host, bk_process_name: str | None, ports: Iterable[str | None]) -> str:
    """Join the host's inner addresses, the first process's name and its first port with ``_``; skip what is missing.

    Args:
        host: all its inner IPv4 addresses count, comma-joined as CMDB shows them; the IPv6 ones when there are none.
        bk_process_name: of the first process.
        ports: of the first process's bind rows in order; the first one that is set is taken.
    """
    return with_address(host, name_tail(bk_process_name, ports))


def name_tail(bk_process_name: str | None, ports: Iterable[str | None]) -> str:
    """The part of a generated name that is the same on all hosts."""
    port = next((port for port in ports if port), None)
    return "_".join(part for part in (bk_process_name, port) if part)


def with_address(host: Host, tail: str) -> str:
    """The whole name: what `generate_name` makes of the host and what `tail` was made of."""
    address = host.bk_host_innerip or host.bk_host_innerip_v6
    return f"{address}_{tail}" if address and tail else address or tail


def unbound_key(name: str) -> str:
    """Return the `instance_key` of an instance of that name in a module without a service template.

    It is the name, or a digest of it where the name is longer than 2000 bytes: a host may have any number of addresses,
    CMDB sets no limit to a generated name, and a row of an index of PostgreSQL's holds 2704 bytes.
    """
    encoded = name.encode()
    if len(encoded) <= _MAX_KEY_BYTES:
        return name
    return f"{name[:_KEPT_OF_A_LONG_NAME]} {hashlib.sha256(encoded).hexdigest()}"
