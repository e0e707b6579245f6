"""A process beside ours that examines received objects, so that a hostile one costs a process and not the gateway."""

import base64
import binascii
import json
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from gateway.model.errors import Unavailable
from gateway.model.measurement import Measurement, read_circumstances, read_code

MAX_ANSWER_BYTES = 64 * 1024 * 1024
START_LIMIT_S = 60.0

TIMED_OUT = "the object took longer than the time limit"
CRASHED = "the worker process ended while it examined the object"

_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]);"
    "from gateway.imaging.examiner import serve; serve(int(sys.argv[2]), float(sys.argv[3]))"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """What an object holds for the page."""

    thumbnail: bytes | None  # a JPEG; None when the object has no picture or it failed
    measurements: tuple[Measurement, ...]
    failure: str  # why something is missing; "" when all went well. Names fields, never values


class PictureWorker:
    """Examines one object at a time in a process of its own, begun with the first object and kept for the next.

    Safe to call from several threads. The process inherits no sockets, threads or signals of ours, and ends when
    we do. One that takes too long or crashes is replaced when the next object comes.
    """

    def __init__(self, time_limit_s: float, max_pixels: int) -> None:
        self._time_limit_s = time_limit_s
        self._max_pixels = max_pixels
        self._turn = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._is_closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def examine(self, path: Path) -> Examined:
        """The thumbnail and the measurements of the object at `path`.

        An object that cannot be examined is a `failure`, not an exception.
        Raises Unavailable when the worker is closed, also while it examines, or cannot be started: the object is
        not to blame, and trying again may help.
        """
        with self._turn:
            process = self._hand_over(path)
            is_late, line = _exchange(process, b"", self._time_limit_s)
            answer = _read_answer(line)
            if is_late or answer is None:
                self._end()
            self._refuse_when_closed()
        if answer is None:
            return Examined(thumbnail=None, measurements=(), failure=TIMED_OUT if is_late else CRASHED)
        return answer

    def close(self) -> None:
        """No process is left, not even one at work. Closing twice is allowed."""
        self._is_closed = True
        process = self._process
        if process is not None:
            process.kill()
        with self._turn:
            self._end()

    def _hand_over(self, path: Path) -> subprocess.Popen[bytes]:
        """The process that has taken the job; one that died since the last object is replaced first."""
        for _ in range(2):
            process = self._running()
            _, taken = _exchange(process, _job_line(path), START_LIMIT_S)
            if taken.endswith(b"\n"):
                return process
            self._end()
        self._refuse_when_closed()
        raise Unavailable("the picture worker takes no object")

    def _running(self) -> subprocess.Popen[bytes]:
        """The process, begun when there is none."""
        self._refuse_when_closed()
        if self._process is None:
            self._process = self._start()
            _, line = _exchange(self._process, b"", START_LIMIT_S)
            if not line.endswith(b"\n"):
                self._end()
                self._refuse_when_closed()
                raise Unavailable("the picture worker does not start")
        return self._process

    def _start(self) -> subprocess.Popen[bytes]:
        arguments = (json.dumps(sys.path), str(self._max_pixels), str(self._time_limit_s))
        try:
            return subprocess.Popen(  # noqa: S603 - our own interpreter and code, no shell
                [sys.executable, "-P", "-c", _START, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError:
            raise Unavailable("the picture worker cannot be started") from None

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()

    def _refuse_when_closed(self) -> None:
        if self._is_closed:
            raise Unavailable("the picture worker is closed")


def _exchange(process: subprocess.Popen[bytes], line: bytes, limit_s: float) -> tuple[bool, bytes]:
    """Whether the process was killed for being late, and its answer: short of its line end when it died."""
    assert process.stdin is not None
    assert process.stdout is not None
    is_late = threading.Event()

    def expire() -> None:
        is_late.set()
        process.kill()

    watchdog = threading.Timer(limit_s, expire)
    watchdog.daemon = True
    watchdog.start()
    try:
        process.stdin.write(line)
        process.stdin.flush()
        answer = process.stdout.readline(MAX_ANSWER_BYTES)
    except OSError:
        answer = b""
    watchdog.cancel()
    watchdog.join()
    return is_late.is_set(), answer


def _job_line(path: Path) -> bytes:
    return json.dumps(str(path.absolute())).encode("ascii") + b"\n"


def _read_answer(line: bytes) -> Examined | None:
    """None when the line is none of ours: the process broke off or was taken over."""
    if not line.endswith(b"\n"):
        return None
    try:
        answer = json.loads(line)
        thumbnail = answer["thumbnail"]
        return Examined(
            thumbnail=None if thumbnail is None else base64.b64decode(thumbnail, validate=True),
            measurements=tuple(_read_measurement(found) for found in answer["measurements"]),
            failure=str(answer["failure"]),
        )
    except (ValueError, LookupError, TypeError, RecursionError, binascii.Error):
        return None


def _read_measurement(found: dict[str, Any]) -> Measurement:
    return Measurement(
        name=read_code(found["name"]),
        value=str(found["value"]),
        unit=None if found["unit"] is None else read_code(found["unit"]),
        context=tuple(map(str, found["context"])),
        path=str(found["path"]),
        circumstances=read_circumstances(found["circumstances"]),
    )
