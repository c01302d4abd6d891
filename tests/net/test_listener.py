"""The port that is wanted, the next one, or a line."""

import socket

import pytest

from zerosearch.core.errors import BadConfig
from zerosearch.net.listener import bind


def test_a_port_that_is_taken() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(BadConfig, match=f"port {port} is already in use"):
            bind("127.0.0.1", port, search=False)
        with bind("127.0.0.1", port, search=True) as other:
            assert port < other.getsockname()[1] <= port + 20
    with pytest.raises(BadConfig, match="cannot listen on"):
        bind("203.0.113.1", 8080, search=True)


def test_beyond_the_last_port_there_is_none() -> None:
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", 65535))
        taken.listen()
        with pytest.raises(BadConfig, match="ports 65535 to 65535 are already in use"):
            bind("127.0.0.1", 65535, search=True)
