"""Free TCP ports on loopback."""

import random
import socket

# Below the range from which Linux (32768) and macOS (49152) take the ports of outgoing connections, so that a server
# that is restarted finds its port still free.
_RANGE = range(20_000, 32_768)


def free_port() -> int:
    """A port of 127.0.0.1 on which nothing listens right now; another process may still take it first."""
    for port in random.sample(_RANGE, k=200):
        if is_free(port):
            return port
    raise OSError("no free TCP port between 20000 and 32767 in 200 tries")


def is_free(port: int) -> bool:
    """Whether 127.0.0.1:`port` can be bound."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
