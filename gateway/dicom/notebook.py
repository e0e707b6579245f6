"""Receipts on their way to the store: taken while an answer is under way, written behind its back, in batches.

A query never waits for the disk. What a crash may lose is the last moment's receipts; no order depends on them.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence

from gateway.model.errors import Unavailable
from gateway.model.receipt import Receipt

log = logging.getLogger(__name__)

_MOST_WAITING = 10_000
_BATCH = 500
_GATHER_S = 0.05  # how long a batch waits for company
_JOIN_S = 10


class Notebook:
    """A thread that writes receipts down with `write`."""

    def __init__(self, write: Callable[[Sequence[Receipt]], None]) -> None:
        self._write = write
        self._waiting: deque[Receipt] = deque(maxlen=_MOST_WAITING)  # the oldest give way
        self._something = threading.Event()
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None

    def note(self, receipt: Receipt) -> None:
        """The receipt is taken; it will be written within the moment."""
        self._waiting.append(receipt)
        self._something.set()

    def start(self) -> None:
        """Receipts are written from now on."""
        self._ending.clear()
        self._thread = threading.Thread(target=self._run, name="receipts", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Everything noted is written, if the store takes it, and the thread has ended."""
        self._ending.set()
        self._something.set()
        if self._thread is not None:
            self._thread.join(_JOIN_S)
            self._thread = None

    def _run(self) -> None:
        while not self._ending.is_set():
            self._something.wait()
            self._ending.wait(_GATHER_S)
            self._something.clear()
            self._empty()

    def _empty(self) -> None:
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(_BATCH, len(self._waiting)))]
            try:
                self._write(batch)
            except Unavailable as error:
                log.error("receipts.lost", extra={"count": len(batch), "reason": str(error)})
            except Exception:
                log.exception("receipts.lost", extra={"count": len(batch)})
