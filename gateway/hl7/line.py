"""A kept MLLP connection to one receiving system: one message out, its own answer in.

What went wrong is said so that a person can act: refused, reset, closed, timed out, answered without a frame, answered
to another message, and TLS are told apart. Source: HL7 Transport Specification MLLP, Release 1, 2.
"""

import socket
import ssl
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress

from gateway.hl7 import charset
from gateway.hl7.destination import Destination, Tls
from gateway.hl7.framing import Frame, Framer, Noted, Oddity, frame
from gateway.model.er7 import Message, read_er7
from gateway.model.errors import Malformed, Unavailable

_CHUNK = 64 * 1024
_MOST_ANSWER = 1024 * 1024


class _Broken(Exception):
    """The connection ended before the answer; nothing of an answer came."""


class Line:
    """The connection to one destination, opened with the first message and again whenever it is gone.

    For one thread at a time.
    """

    def __init__(self, destination: Destination, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._destination = destination
        self._monotonic = monotonic
        self._timeout_s = destination.ack_timeout.total_seconds()
        self._socket: socket.socket | None = None
        self._framer = Framer(_MOST_ANSWER)
        self._is_over = False

    def exchange(self, raw: bytes, control_id: str) -> Message:
        """The answer whose MSA-2 is `control_id`; late answers to earlier messages are passed over.

        A kept connection that turns out to be dead is opened once more: the message then leaves a second time, with
        the same control id.
        Raises Unavailable when there is no answer: it is then not known whether the message was taken.
        """
        with ExitStack() as undo:
            undo.callback(self.close)
            answer = self._answered(raw, control_id)
            undo.pop_all()
        return answer

    def close(self) -> None:
        """The connection is closed, if there was one."""
        if self._socket is not None:
            with suppress(OSError):
                self._socket.close()
            self._socket = None

    def end(self) -> None:
        """Nothing is sent any more, and who waits for an answer in another thread waits no longer."""
        self._is_over = True
        connection = self._socket
        if connection is not None:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _answered(self, raw: bytes, control_id: str) -> Message:
        kept = self._still_open()
        if kept is not None:
            try:
                return self._talk(kept, raw, control_id)
            except _Broken:
                self.close()
        try:
            return self._talk(self._open(), raw, control_id)
        except _Broken as broken:
            raise Unavailable(str(broken)) from None

    def _talk(self, connection: socket.socket, raw: bytes, control_id: str) -> Message:
        until = self._monotonic() + self._timeout_s
        others, unframed = 0, 0
        try:
            self._send(connection, frame(raw))
            while True:
                for part in self._received(connection, until):
                    if isinstance(part, Noted):
                        unframed += part.count if part.oddity is Oddity.JUNK else 0
                        continue
                    answer = _read(part.payload)
                    if _answered_id(answer) == control_id:
                        return answer
                    others += 1
        except (_Broken, TimeoutError) as error:
            rest = self._framer.finish()
            unframed += rest.count if rest else 0
            self._blame(error, others, unframed)
            raise

    def _blame(self, error: _Broken | TimeoutError, others: int, unframed: int) -> None:
        """Raises Unavailable unless nothing at all came and the connection is gone."""
        said = str(error) if isinstance(error, _Broken) else f"no answer within {self._timeout_s:g} s"
        if unframed:
            raise Unavailable(f"{said}; {unframed} bytes came without an MLLP frame") from None
        if others:
            raise Unavailable(f"{said}; {others} answers were to other messages (MSA-2)") from None
        if self._framer.is_inside:
            raise Unavailable(f"{said}; an answer had begun and did not end") from None
        if isinstance(error, TimeoutError):
            raise Unavailable(said) from None

    def _send(self, connection: socket.socket, framed: bytes) -> None:
        connection.settimeout(self._timeout_s)
        try:
            connection.sendall(framed)
        except TimeoutError:
            raise
        except OSError as error:
            raise _Broken("the connection was reset while the message was sent") from error

    def _received(self, connection: socket.socket, until: float) -> list[Frame | Noted]:
        left_s = until - self._monotonic()
        if left_s <= 0:
            raise TimeoutError
        connection.settimeout(left_s)
        try:
            chunk = connection.recv(_CHUNK)
        except TimeoutError:
            raise
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
            chunk = b""
        except ssl.SSLError as error:
            raise Unavailable(f"TLS: {error.reason or type(error).__name__}") from None
        except OSError as error:
            raise _Broken("the connection was reset before the answer") from error
        if not chunk:
            raise _Broken("the connection was closed before the answer")
        return list(self._framer.feed(chunk))

    def _still_open(self) -> socket.socket | None:
        """The kept connection, None when there is none or the other side ended it. Late answers are read away."""
        connection = self._socket
        while connection is not None:
            connection.settimeout(0)
            try:
                chunk = connection.recv(_CHUNK)
            except (BlockingIOError, ssl.SSLWantReadError):
                return connection
            except OSError:
                chunk = b""
            if not chunk:
                self.close()
                connection = None
            for _ in self._framer.feed(chunk):
                pass
        return None

    def _open(self) -> socket.socket:
        to, bound_s = self._destination, self._timeout_s
        if self._is_over:
            raise Unavailable("the gateway is stopping")
        try:
            plain = socket.create_connection((to.host, to.port), timeout=bound_s)
        except TimeoutError:
            raise Unavailable(f"cannot be reached: no connection within {bound_s:g} s") from None
        except ConnectionRefusedError:
            raise Unavailable("cannot be reached: the connection is refused") from None
        except socket.gaierror:
            raise Unavailable("cannot be reached: the host name is not known") from None
        except OSError as error:
            raise Unavailable(f"cannot be reached: {error.strerror or type(error).__name__}") from None
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._socket = plain if to.tls is None else _secured(plain, to.tls)
        self._framer = Framer(_MOST_ANSWER)
        return self._socket


def _secured(plain: socket.socket, tls: Tls) -> socket.socket:
    """The connection under TLS, the server's name checked. Raises Unavailable."""
    try:
        context = ssl.create_default_context(cafile=tls.ca)
        if tls.certificate is not None:
            context.load_cert_chain(tls.certificate, tls.key)
        return context.wrap_socket(plain, server_hostname=tls.name)
    except ssl.SSLCertVerificationError as error:
        plain.close()
        raise Unavailable(f"TLS: the server's certificate is not accepted: {error.verify_message}") from None
    except ssl.SSLError as error:
        plain.close()
        raise Unavailable(f"TLS: {error.reason or type(error).__name__}") from None
    except TimeoutError:
        plain.close()
        raise Unavailable("TLS: no answer to the handshake") from None
    except ConnectionError:
        plain.close()
        raise Unavailable("TLS: the connection was reset") from None
    except OSError:
        plain.close()
        raise Unavailable("TLS: a certificate file cannot be read") from None


def _read(payload: bytes) -> Message:
    """Raises Unavailable for what is no HL7 message: it answers nothing."""
    try:
        return read_er7(charset.decode(payload).text)
    except Malformed:
        raise Unavailable("the answer cannot be read: it is no HL7 message") from None


def _answered_id(answer: Message) -> str:
    verdict = next(answer.named("MSA"), None)
    if verdict is None:
        raise Unavailable("the answer has no MSA segment")
    return verdict.value(2)
