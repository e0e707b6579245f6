"""The simulated RIS as the one who is told: an MLLP port that takes order status and results and answers them."""

import socketserver
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from gateway.hl7.framing import Frame, Framer, frame
from gateway.model.er7 import read_er7
from gateway.model.errors import Invalid, Malformed, Unavailable

ANSWERS = frozenset({"AA", "AE", "AR"})
_CHUNK = 64 * 1024


class RisInbox:
    """A RIS that is told. `received` holds every message as it came, repeats too; `answer` may be changed."""

    def __init__(
        self,
        port: int = 0,
        *,
        answer: str = "AA",
        bind: str = "127.0.0.1",
        show: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`show` is given each message, one segment a line.

        Raises Invalid for an answer that is none, Unavailable when the port cannot be opened.
        """
        if answer not in ANSWERS:
            raise Invalid("--answer: AA, AE or AR is wanted")
        self.answer = answer
        self.received: list[bytes] = []
        self._show = show
        try:
            self._server = _Server((bind, port), self._take)
        except OSError as error:
            raise Unavailable(f"--listen: the port cannot be opened: {error.strerror}") from None
        self.port = int(self._server.server_address[1])

    def run(self) -> None:
        """Messages are taken until somebody stops the process or leaves the context."""
        self._server.serve_forever(0.05)

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self.run, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _take(self, message: bytes) -> bytes:
        self.received.append(message)
        text = message.decode("utf-8", "replace")
        self._show(text.replace("\r", "\n"))
        return _answer(text, self.answer, len(self.received))


def serve(port: int, *, answer: str, show: Callable[[str], None]) -> None:
    """Be told on that port until stopped. Raises Invalid, Unavailable."""
    inbox = RisInbox(port, answer=answer, bind="0.0.0.0", show=show)
    inbox.run()


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, address: tuple[str, int], take: Callable[[bytes], bytes]) -> None:
        self.take = take
        super().__init__(address, _Connection)


class _Connection(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        assert isinstance(self.server, _Server)
        framer = Framer()
        try:
            while chunk := self.request.recv(_CHUNK):
                for part in framer.feed(chunk):
                    if isinstance(part, Frame):
                        self.request.sendall(frame(self.server.take(part.payload)))
        except ConnectionError:
            return


def _answer(message: str, code: str, number: int) -> bytes:
    """The acknowledgement in original mode, in the version of the message."""
    try:
        head = read_er7(message).header
    except Malformed:
        return f"MSH|^~\\&|RIS||||||ACK|A{number}|P|2.5.1\rMSA|AR|UNKNOWN|no MSH segment\r".encode()
    first = (
        f"MSH|^~\\&|{head.raw(5)}|{head.raw(6)}|{head.raw(3)}|{head.raw(4)}|{head.raw(7)}||ACK|A{number}|P|"
    )
    return f"{first}{head.raw(12)}\rMSA|{code}|{head.raw(10)}\r".encode()
