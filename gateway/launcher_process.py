"""The gateway as a child process: started, watched and stopped without ever waiting for it."""

import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

MAX_LINES = 1000
MAX_LINE = 2000
GRACE_S = 10.0
_READER_S = 2.0
_PROBE_S = 0.25


class State(StrEnum):
    """Where the child stands."""

    STOPPED = "stopped"
    STARTING = "starting"  # it lives and does not answer yet
    RUNNING = "running"  # it answers
    STOPPING = "stopping"  # it was told to end
    FAILED = "failed"  # it ended by itself


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """Where the child stands; `reason` is its last word when it failed, else empty."""

    state: State
    reason: str = ""


class Child:
    """One gateway, which `command` starts and which `is_ready` can reach.

    `poll` moves things on and is to be called a few times a second; nothing here blocks except `close`.
    Used by one thread.
    """

    def __init__(
        self,
        command: Sequence[str],
        is_ready: Callable[[], bool],
        *,
        grace_s: float = GRACE_S,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._command = tuple(command)
        self._is_ready = is_ready
        self._grace_s = grace_s
        self._monotonic = monotonic
        self._status = Status(state=State.STOPPED)
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self._answers = threading.Event()
        self._kill_at = 0.0
        self._lines: deque[str] = deque(maxlen=MAX_LINES)
        self._written = 0
        self._first = 0  # how many lines stood there before this child
        self._lock = threading.Lock()

    @property
    def status(self) -> Status:
        """What the last `poll` found."""
        return self._status

    def start(self) -> None:
        """The child is starting; nothing changes when it is there already."""
        if self._process is not None:
            return
        try:
            self._process = subprocess.Popen(  # noqa: S603 (the command is ours)
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                encoding="utf-8",
                errors="replace",
            )
        except OSError as error:
            self._status = Status(state=State.FAILED, reason=f"it cannot be started: {error.strerror}")
            return
        self._status = Status(state=State.STARTING)
        self._first = self._written
        self._answers = threading.Event()
        self._reader = threading.Thread(target=self._read, args=(self._process,), name="output", daemon=True)
        self._reader.start()
        asked = (self._process, self._answers)
        threading.Thread(target=self._probe, args=asked, name="probe", daemon=True).start()

    def stop(self) -> None:
        """The child was asked to end; it is killed when it has not after the grace time."""
        if self._process is None or self._status.state is State.STOPPING:
            return
        self._process.terminate()
        self._kill_at = self._monotonic() + self._grace_s
        self._status = Status(state=State.STOPPING)

    def poll(self) -> Status:
        """Where the child stands now."""
        process = self._process
        if process is None:
            return self._status
        if process.poll() is not None:
            self._ended(process)
        elif self._status.state is State.STOPPING and self._monotonic() >= self._kill_at:
            process.kill()
        elif self._status.state is State.STARTING and self._answers.is_set():
            self._status = Status(state=State.RUNNING)
        return self._status

    def close(self) -> None:
        """The child has ended, killed if it must be. Waits up to the grace time."""
        self.stop()
        if self._process is None:
            return
        try:
            self._process.wait(self._grace_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self.poll()

    def lines(self, since: int = 0) -> tuple[int, tuple[str, ...]]:
        """How many lines the child has written in all, and those after the first `since` that are still held."""
        with self._lock:
            fresh = min(self._written - since, len(self._lines))
            return self._written, tuple(self._lines)[len(self._lines) - fresh :] if fresh > 0 else ()

    def _ended(self, process: "subprocess.Popen[str]") -> None:
        if self._reader is not None:
            self._reader.join(_READER_S)
        self._process = self._reader = None
        if self._status.state is State.STOPPING:
            self._status = Status(state=State.STOPPED)
            return
        _, said = self.lines(self._first)
        last = next((line for line in reversed(said) if line.strip()), "")
        self._status = Status(state=State.FAILED, reason=last or f"it ended with status {process.returncode}")

    def _probe(self, process: "subprocess.Popen[str]", answers: threading.Event) -> None:
        """Asking may take a while, so that it has a thread of its own."""
        while process.returncode is None:
            if self._is_ready():
                answers.set()
                return
            time.sleep(_PROBE_S)

    def _read(self, process: "subprocess.Popen[str]") -> None:
        assert process.stdout is not None
        with process.stdout as output:
            while line := output.readline(MAX_LINE):
                self._note(line.rstrip("\r\n"))

    def _note(self, line: str) -> None:
        with self._lock:
            self._lines.append(line)
            self._written += 1
