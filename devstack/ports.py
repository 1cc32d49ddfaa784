"""Free TCP ports on loopback."""

import os
import random
import socket
from collections import deque
from typing import Final

# Below the range from which Linux (32768) and macOS (49152) take the ports of outgoing connections, so that a server
# that is restarted finds its port still free.
_RANGE = range(20_000, 32_768)
_reserved: Final[deque[int]] = deque()
"""Descriptors of sockets."""
_MOST_RESERVED: Final = 200


def free_port() -> int:
    """A port of 127.0.0.1 that is free, and that no other process is given before its server listens there."""
    for port in random.sample(_RANGE, k=200):
        if (holder := _reservation(port)) is not None:
            _reserved.append(holder.detach())
            if len(_reserved) > _MOST_RESERVED:  # its server has long since come
                os.close(_reserved.popleft())
            return port
    raise OSError("no free TCP port between 20000 and 32767 in 200 tries")


def _reservation(port: int) -> socket.socket | None:
    """A socket that is bound there, if none is. It lets servers in, which reuse addresses, and no other of its kind."""
    holder = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        holder.bind(("127.0.0.1", port))
    except OSError:
        holder.close()
        return None
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return holder


def is_free(port: int) -> bool:
    """Whether 127.0.0.1:`port` can be bound."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
