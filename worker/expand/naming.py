"""The name CMDB gives a service instance that came without one (CMDB CP/service_instance.go:692-725)."""

from collections.abc import Iterable

from worker.expand.catalogue import Host


def generate_name(host: Host, bk_process_name: str | None, ports: Iterable[str | None]) -> str:
    """Join the host's inner addresses, the first process's name and its first port with ``_``; skip what is missing.

    Args:
        host: all its inner IPv4 addresses count, comma-joined as CMDB shows them; the IPv6 ones when there are none.
        bk_process_name: of the first process.
        ports: of the first process's bind rows in order; the first one that is set is taken.
    """
    address = host.bk_host_innerip or host.bk_host_innerip_v6
    port = next((port for port in ports if port), None)
    return "_".join(part for part in (address, bk_process_name, port) if part)
