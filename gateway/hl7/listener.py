"""The MLLP server: connections in, the answers to each message out, in order."""

import asyncio
import logging
import socket
from collections.abc import Callable
from dataclasses import dataclass
from ssl import SSLContext

from gateway.flow.lane import Lane
from gateway.hl7.access import Access
from gateway.hl7.answering import answers_in
from gateway.hl7.entrance import Entrance
from gateway.hl7.framing import MAX_BYTES, End, Frame, Framer, Noted, Oddity, frame
from gateway.hl7.inbound import Receive
from gateway.store.database import Database

log = logging.getLogger(__name__)

_CHUNK = 64 * 1024
_MAX_CONNECTIONS = 100
_LINGER_S = 2.0


@dataclass(frozen=True, slots=True)
class _Arrived:
    """A frame, and who sent it."""

    message: Frame
    peer: str


class Listener:
    """Takes messages over MLLP. Each connection's messages are answered strictly in order."""

    def __init__(
        self,
        *,
        name: str,
        bind: str,
        port: int,
        receive: Receive,
        database: Database,
        max_bytes: int = MAX_BYTES,
        max_connections: int = _MAX_CONNECTIONS,
        frame_timeout_s: float = 30.0,
        connected: Callable[[], None] = lambda: None,
        access: Access | None = None,
        contexts: Callable[[], SSLContext] | None = None,
    ) -> None:
        """`receive` blocks and is called in a lane of the listener's own, over `database`. Port 0 takes a free one.

        Without `access` everybody may connect; with `contexts` by TLS alone.

        A frame that has begun must go on within `frame_timeout_s`, and an answer must be taken within it;
        between frames a connection may rest as long as it likes. `connected` is told of each connection.
        """
        self._name = name
        self._bind = bind
        self._port = port
        self._receive = receive
        self._max_bytes = max_bytes
        self._max_connections = max_connections
        self._frame_timeout_s = frame_timeout_s
        self._connected = connected
        self._lane: Lane[_Arrived, bytes] = Lane(f"hl7-{name}", database, self._received)
        self._entrance = Entrance(name=name, access=access, contexts=contexts)
        self._connections: set[asyncio.Task[None]] = set()
        self._resting: set[asyncio.Task[None]] = set()  # those that wait for bytes
        self._is_closing = False

    @property
    def port(self) -> int:
        """The port it listens at, once started."""
        return self._port

    async def start(self) -> None:
        """Connections are taken from now on. Raises OSError when the port is not to be had."""
        self._port = self._entrance.open(self._bind, self._port, self._accept)
        log.info("hl7.listening", extra={"listener": self._name, "port": self._port})

    async def close(self) -> None:
        """No connection is open: messages in hand were answered, later ones on the wire were not taken."""
        self._is_closing = True
        await self._entrance.close()
        for task in tuple(self._resting):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        self._lane.close()
        log.info("hl7.closed", extra={"listener": self._name})

    async def _accept(self, connection: socket.socket, peer: str) -> None:
        """One connection, from its begin to its end. Whoever may not come in is hung up on without a word."""
        self._connected()
        if self._is_closing or not self._has_room(peer) or not self._entrance.admits(peer):
            connection.close()
            return
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        self._resting.add(task)
        try:
            streams = await self._entrance.greet(connection, peer)
        except asyncio.CancelledError:
            streams = None  # `close` waits for no handshake
        finally:
            self._resting.discard(task)
        if streams is not None:
            await self._serve(*streams, peer)
        connection.close()  # by TLS the end of the loop may come before that of the transport
        self._connections.discard(task)

    def _has_room(self, peer: str) -> bool:
        if len(self._connections) < self._max_connections:
            return True
        log.warning("hl7.turned_away", extra={"listener": self._name, "peer": peer, "reason": "connections"})
        return False

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, peer: str) -> None:
        """A connection that was let in, to its end; nothing escapes it."""
        try:
            await self._converse(reader, writer, peer)
        except asyncio.CancelledError:
            log.debug("hl7.cut_off", extra={"listener": self._name})  # `close` ends those that rest
        except TimeoutError:
            log.warning("hl7.timeout", extra={"listener": self._name, "seconds": self._frame_timeout_s})
            writer.transport.abort()
        except OSError:
            log.info("hl7.connection_lost", extra={"listener": self._name})
        except Exception:
            log.exception("hl7.connection_failed", extra={"listener": self._name})
        finally:
            await self._hang_up(writer)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, peer: str) -> None:
        """Reads and answers until the peer leaves, the gateway closes or nothing more can be understood."""
        framer = Framer(self._max_bytes)
        is_told = False
        try:
            while chunk := await self._read(reader, is_inside=framer.is_inside):
                for part in framer.feed(chunk):
                    if isinstance(part, Noted):
                        self._note(part)
                    elif self._is_closing:
                        return
                    else:
                        await self._answer(part, writer, peer)
                        if part.end is End.OVERSIZED:
                            await _linger(reader, writer)
                            return
                if framer.unframed_bytes and not is_told:
                    is_told = True  # a sender that leaves out VT waits for an answer that never comes
                    log.warning("hl7.outside_frames", extra={"listener": self._name, "peer": peer})
        finally:
            self._note_rest(framer)

    async def _read(self, reader: asyncio.StreamReader, *, is_inside: bool) -> bytes:
        """The next bytes; none when the peer has left or the listener closes. Raises TimeoutError inside a frame."""
        task = asyncio.current_task()
        if self._is_closing or task is None:
            return b""
        self._resting.add(task)
        try:
            async with asyncio.timeout(self._frame_timeout_s if is_inside else None):
                return await reader.read(_CHUNK)
        finally:
            self._resting.discard(task)

    async def _answer(self, message: Frame, writer: asyncio.StreamWriter, peer: str) -> None:
        """The message is received and answered. A peer that left gets no answer; its message counts all the same."""
        if message.end is not End.WHOLE:
            log.warning("hl7.bad_frame", extra={"listener": self._name, "end": message.end})
        answer = await self._lane.take(_Arrived(message, peer))
        try:
            for one in answers_in(answer):
                writer.write(frame(one))
            async with asyncio.timeout(self._frame_timeout_s):
                await writer.drain()
        except ConnectionError:
            log.warning("hl7.answer_undelivered", extra={"listener": self._name})

    def _received(self, arrived: _Arrived) -> bytes:
        """Runs in the lane."""
        return self._receive(arrived.message.payload, arrived.peer, arrived.message.end)

    def _note(self, noted: Noted) -> None:
        level = logging.WARNING if noted.oddity is Oddity.JUNK else logging.INFO
        log.log(
            level, "hl7.oddity", extra={"listener": self._name, "oddity": noted.oddity, "count": noted.count}
        )

    def _note_rest(self, framer: Framer) -> None:
        """What was left when the connection ended: junk, or the begin of a message nobody will see whole."""
        noted = framer.finish()
        if noted is not None:
            self._note(noted)
        if framer.is_inside:
            log.warning("hl7.unfinished_frame", extra={"listener": self._name, "bytes": framer.pending_bytes})

    async def _hang_up(self, writer: asyncio.StreamWriter) -> None:
        """The connection is closed, its last answer sent if the peer takes it."""
        writer.close()
        try:
            async with asyncio.timeout(_LINGER_S):
                await writer.wait_closed()
        except OSError:
            writer.transport.abort()


async def _linger(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """The peer's remaining bytes are thrown away for a moment: closing over them would take the answer back."""
    try:
        if writer.can_write_eof():  # not by TLS
            writer.write_eof()
        async with asyncio.timeout(_LINGER_S):
            while await reader.read(_CHUNK):
                pass
    except OSError:
        return
