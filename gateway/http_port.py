"""The socket that pages and FHIR are served on."""

import socket


def open_port(bind: str, port: int) -> socket.socket:
    """A listening socket whose answers leave at once. Raises OSError.

    asyncio sets TCP_NODELAY only on sockets that name their protocol; without it every answer waits 40 ms for an ACK.
    """
    opened = socket.create_server((bind, port), backlog=128)
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return opened
