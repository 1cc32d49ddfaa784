"""A free port is one's own until its server listens."""

import socket

import pytest

from devstack.ports import free_port, is_free


def test_port_that_was_given_is_given_to_nobody_else_and_its_server_can_restart() -> None:
    port = free_port()
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", port))
    assert is_free(port)
    for _ in range(2):
        with socket.create_server(("127.0.0.1", port)) as server, socket.create_connection(("127.0.0.1", port)):
            assert not is_free(port)
            server.accept()[0].close()
