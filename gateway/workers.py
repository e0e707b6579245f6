"""Threads that do their jobs again and again until the gateway stops."""

import logging
import threading
from collections.abc import Callable

from gateway.model.errors import GatewayError

log = logging.getLogger(__name__)

_STOP_S = 15.0


class Workers:
    """Every thread with a job of its own; one that fails at it says so and tries again."""

    def __init__(self) -> None:
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self, name: str, pause_s: float, job: Callable[[], object]) -> None:
        """The job is done now, and again each time `pause_s` seconds after it ended."""
        thread = threading.Thread(target=self._repeat, args=(name, pause_s, job), name=name, daemon=True)
        thread.start()
        self._threads.append(thread)

    @property
    def dead(self) -> tuple[str, ...]:
        """The names of those that have ended."""
        return tuple(thread.name for thread in self._threads if not thread.is_alive())

    def is_stopping(self) -> bool:
        """Whether a job that could go on should come to its end."""
        return self._stopping.is_set()

    def stop(self) -> None:
        """No job is begun any more."""
        self._stopping.set()

    def join(self) -> None:
        """Each has ended, or had its time to."""
        for thread in self._threads:
            thread.join(_STOP_S)

    def _repeat(self, name: str, pause_s: float, job: Callable[[], object]) -> None:
        while not self._stopping.is_set():
            try:
                job()
            except GatewayError as error:
                log.warning("worker.trouble", extra={"worker": name, "reason": str(error)})
            except Exception:
                log.exception("worker.failed", extra={"worker": name})
            self._stopping.wait(pause_s)
