"""A listening socket that takes leave: no new connections, and none of those that were made is lost."""

from __future__ import annotations

import socket
import sys

import pytest

from api.sockets import refuse_new_connections

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a feature of the Linux kernel")


@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_what_was_connected_is_served_and_nothing_more_is(family: socket.AddressFamily, host: str) -> None:
    with socket.socket(family) as listening:
        try:
            listening.bind((host, 0))
        except OSError:
            pytest.skip("no such address here")
        listening.listen(10)
        with socket.create_connection(listening.getsockname()[:2], timeout=10) as early:
            refuse_new_connections(listening)

            with pytest.raises(TimeoutError):
                socket.create_connection(listening.getsockname()[:2], timeout=0.3)
            accepted, _ = listening.accept()
            with accepted:
                early.sendall(b"question")
                assert accepted.recv(100) == b"question"
                accepted.sendall(b"answer")
                assert early.recv(100) == b"answer"
