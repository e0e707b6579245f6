"""An MLLP client: one message out, its answer in."""

import socket
from contextlib import suppress
from types import TracebackType
from typing import Self

from gateway.hl7 import charset
from gateway.hl7.framing import Frame, Framer, frame
from gateway.model.er7 import Message, read_er7
from gateway.model.errors import Malformed, Refused, Unavailable

_CHUNK = 64 * 1024
_MAX_ANSWER = 1024 * 1024
_TAKEN = frozenset({"AA", "CA"})  # Source: HL7 table 0008


class Sender:
    """A connection to an MLLP listener. It is opened with the first message and kept for the next ones."""

    def __init__(self, host: str, port: int, timeout_s: float = 30.0) -> None:
        """`timeout_s` bounds connecting and each wait for bytes of an answer."""
        self._address = (host, port)
        self._timeout_s = timeout_s
        self._socket: socket.socket | None = None
        self._framer = Framer(_MAX_ANSWER)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def send(self, message: bytes) -> bytes:
        """The answer to `message` (without frame bytes), once the other side took it (AA or CA).

        Raises Refused with the other side's code and text when it did not, Malformed when `message` has no MSH,
        and what `exchange` raises.
        """
        answer = self.exchange(message)
        verdict = next(_read(answer).named("MSA"))
        code = verdict.value(1)
        if code not in _TAKEN:
            raise Refused(" ".join(filter(None, (f"answered {code}:", *_reasons(_read(answer))))))
        return answer

    def exchange(self, message: bytes) -> bytes:
        """The answer to `message`, whatever it says, but surely to this one: MSA-2 repeats MSH-10.

        Raises Unavailable when there is none, or one to another message: then it is not known whether the message
        was taken, and the connection is closed so that a late answer meets nobody. Raises Malformed when `message`
        has no MSH.
        """
        control_id = _read(message).header.value(10)
        try:
            answer = self._talk(frame(message))
            if answered_id(answer) != control_id:
                raise Unavailable("the answer is to another message (MSA-2 is not MSH-10)")
        except (OSError, Malformed) as error:
            self.close()
            raise Unavailable(f"no answer over MLLP ({type(error).__name__}: {error})") from error
        except Unavailable:
            self.close()
            raise
        return answer

    def close(self) -> None:
        """The connection is closed, if there was one."""
        if self._socket is not None:
            with suppress(OSError):
                self._socket.close()
            self._socket = None

    def _talk(self, framed: bytes) -> bytes:
        connection = self._connected()
        connection.sendall(framed)
        while chunk := connection.recv(_CHUNK):
            answers = [part.payload for part in self._framer.feed(chunk) if isinstance(part, Frame)]
            if answers:
                return answers[0]
        raise Unavailable("the connection was closed before the answer")

    def _connected(self) -> socket.socket:
        if self._socket is None:
            self._socket = socket.create_connection(self._address, timeout=self._timeout_s)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._framer = Framer(_MAX_ANSWER)
        return self._socket


def answered_id(answer: bytes) -> str:
    """MSA-2 of an acknowledgement: the control id it answers. Raises Malformed when there is no MSA."""
    verdict = next(_read(answer).named("MSA"), None)
    if verdict is None:
        raise Malformed("the answer has no MSA segment")
    return verdict.value(2)


def _reasons(answer: Message) -> list[str]:
    """What the other side says is wrong: MSA-3, and location, code and text of each ERR."""
    said = [segment.value(3) for segment in answer.named("MSA")]
    for error in answer.named("ERR"):
        place = "-".join(filter(None, (error.value(2, 1), error.value(2, 3))))
        said += [place, error.value(3, 2), error.value(8)]
    return said


def _read(raw: bytes) -> Message:
    return read_er7(charset.decode(raw).text)
