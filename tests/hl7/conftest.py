"""A listener that runs, in a loop of its own, and a plain socket to talk to it."""

import asyncio
import logging
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from gateway.hl7.framing import Frame, Framer
from gateway.hl7.inbound import Receive
from gateway.hl7.listener import Listener
from gateway.store.database import Database

PATIENCE_S = 20.0


class Running:
    """A started listener; `close` may be called twice."""

    def __init__(self, listener: Listener) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._listener = listener
        self._is_open = True
        self.await_(listener.start())

    @property
    def port(self) -> int:
        return self._listener.port

    def await_(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE_S)

    def close(self) -> None:
        if self._is_open:
            self._is_open = False
            self.await_(self._listener.close())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()


class Peer:
    """The other side, with nothing between it and the bytes."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._framer = Framer()
        self._answers: list[bytes] = []

    def write(self, raw: bytes) -> None:
        self._socket.sendall(raw)

    def answer(self) -> bytes:
        """The next framed answer; empty when the connection was closed."""
        while not self._answers:
            chunk = self._socket.recv(65536)
            if not chunk:
                return b""
            self._answers += [part.payload for part in self._framer.feed(chunk) if isinstance(part, Frame)]
        return self._answers.pop(0)

    def hang_up(self) -> None:
        """No more will be written; returns when the other side has closed too."""
        self._socket.shutdown(socket.SHUT_WR)
        assert self.answer() == b""

    def close(self) -> None:
        self._socket.close()


Listen = Callable[..., Running]
Call = Callable[[int], Peer]


@pytest.fixture
def listen(database: Database) -> Iterator[Listen]:
    """Starts a listener for a `receive` on a free port; arguments are the Listener's."""
    with ExitStack() as stack:

        def start(receive: Receive, **options: Any) -> Running:
            running = Running(
                Listener(name="ris", bind="127.0.0.1", port=0, receive=receive, database=database, **options)
            )
            stack.callback(running.close)
            return running

        yield start


@pytest.fixture
def call(listen: Listen) -> Iterator[Call]:  # after `listen`, so that peers leave first
    """Connects to a port."""
    with ExitStack() as stack:

        def connect(port: int) -> Peer:
            peer = Peer(port)
            stack.callback(peer.close)
            return peer

        yield connect


@pytest.fixture(autouse=True)
def _all_logs(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
