"""The way in from the network: a socket that listens, the allow-list, TLS, and the connections let through."""

import asyncio
import logging
import socket
import ssl
from collections.abc import Awaitable, Callable

from gateway.hl7.access import Access

log = logging.getLogger(__name__)

_BACKLOG = 128
_HANDSHAKE_S = 10.0
_PAUSE_S = 0.5
_KEEP_ALIVE = {
    "TCP_KEEPIDLE": 60,
    "TCP_KEEPINTVL": 15,
    "TCP_KEEPCNT": 4,
}  # a vanished peer is noticed in 2 minutes

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Entered = Callable[[socket.socket, str], Awaitable[None]]


class Entrance:
    """A listening socket, and who may come in."""

    def __init__(
        self, *, name: str, access: Access | None = None, contexts: Callable[[], ssl.SSLContext] | None = None
    ) -> None:
        """`name` is the listener's, for the log; `contexts` has what each connection's TLS is done with."""
        self._name = name
        self._access = access or Access()
        self._contexts = contexts
        self._socket: socket.socket | None = None
        self._inside: set[asyncio.Task[None]] = set()

    def open(self, bind: str, port: int, enter: Entered) -> int:
        """The port it listens at. `enter` is called with each connection and its address, in a task of its own.

        Raises OSError when the port is not to be had.
        """
        family = socket.AF_INET6 if ":" in bind else socket.AF_INET
        self._socket = socket.create_server((bind, port), family=family, backlog=_BACKLOG)
        self._socket.setblocking(False)
        self._watch(self._socket, enter)
        return int(self._socket.getsockname()[1])

    async def close(self) -> None:
        """Nobody comes in any more; those inside are left alone."""
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._socket = None
        await asyncio.sleep(0)  # those just let in begin, and learn that it is over

    def admits(self, address: str) -> bool:
        """Whether a peer of that address may connect; one that may not is told to the log."""
        if self._access.admits_address(address):
            return True
        log.warning("hl7.turned_away", extra={"listener": self._name, "peer": address, "reason": "address"})
        return False

    async def greet(self, connection: socket.socket, address: str) -> Streams | None:
        """The streams of a connection, TLS in place; None, and the connection closed, when it does not come about."""
        try:
            streams = await self._streams(connection)
        except asyncio.CancelledError:
            connection.close()
            raise
        except OSError as error:  # an ssl.SSLError is one
            reason = getattr(error, "reason", None) or type(error).__name__
            log.warning("hl7.turned_away", extra={"listener": self._name, "peer": address, "reason": reason})
            connection.close()
            return None
        shown = streams[1].get_extra_info("peercert")
        if self._contexts is None or self._access.admits_subject(shown):
            return streams
        log.warning("hl7.turned_away", extra={"listener": self._name, "peer": address, "reason": "subject"})
        streams[1].transport.abort()
        return None

    async def _streams(self, connection: socket.socket) -> Streams:
        loop = asyncio.get_running_loop()
        keep_alive(connection)
        reader = asyncio.StreamReader(loop=loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        context = self._contexts() if self._contexts else None
        transport, _ = await loop.connect_accepted_socket(
            lambda: protocol,
            connection,
            ssl=context,
            ssl_handshake_timeout=_HANDSHAKE_S if context else None,
        )
        return reader, asyncio.StreamWriter(transport, protocol, reader, loop)

    def _watch(self, listening: socket.socket, enter: Entered) -> None:
        if listening is self._socket:  # else it was closed in the meantime
            asyncio.get_running_loop().add_reader(listening, self._accept, listening, enter)

    def _accept(self, listening: socket.socket, enter: Entered) -> None:
        """Somebody is at the door. Nothing is awaited here: a connection cannot be lost on the way to its task."""
        loop = asyncio.get_running_loop()
        try:
            connection, address = listening.accept()
        except BlockingIOError:
            return
        except OSError as error:  # no file descriptor left, or the peer was gone again
            log.warning("hl7.not_accepted", extra={"listener": self._name, "reason": error.strerror})
            loop.remove_reader(listening)
            loop.call_later(_PAUSE_S, self._watch, listening, enter)
            return
        connection.setblocking(False)
        task = asyncio.ensure_future(enter(connection, str(address[0])))
        self._inside.add(task)
        task.add_done_callback(self._inside.discard)


def keep_alive(connection: socket.socket) -> None:
    """A peer that vanished is noticed, and a short answer leaves at once."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for option, value in _KEEP_ALIVE.items():
        if hasattr(socket, option):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
