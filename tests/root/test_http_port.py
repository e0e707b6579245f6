"""Answers over HTTP leave at once."""

import socket

from gateway.http_port import open_port


def test_connections_do_not_hold_back_small_answers() -> None:
    with open_port("127.0.0.1", 0) as opened, socket.create_connection(opened.getsockname()):
        connection, _ = opened.accept()
        with connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
