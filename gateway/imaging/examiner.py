"""The worker process's own side: jobs come in as JSON lines, answers go out as JSON lines.

Pictures from a network are hostile, and their decoders are written in C: this process holds nothing worth
taking, answers in text that cannot carry code, and may be killed at any moment.
"""

import base64
import json
import logging
import os
import signal
import sys
import warnings
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import BinaryIO, TypeVar

import pydicom.config

from gateway.imaging.measurements import read_measurements
from gateway.imaging.thumbnails import render_thumbnail
from gateway.model.errors import GatewayError
from gateway.model.measurement import Measurement

_Found = TypeVar("_Found")

_MEMORY_BYTES = 4 * 1024**3  # beyond what the libraries themselves reserve
_GRACE = 3  # times the time limit: when a parent that died can no longer end us, we end ourselves


def serve(max_pixels: int, time_limit_s: float) -> None:
    """Examines object after object until standard input ends.

    Answers an empty line when it is ready and when it has taken a job, then the job's result.
    """
    jobs, answers = sys.stdin.buffer, _take_standard_output()
    _restrict()
    _answer(answers, b"")
    for line in jobs:
        _limit_time(_GRACE * time_limit_s)
        _answer(answers, b"")
        _answer(answers, json.dumps(_examine(Path(json.loads(line)), max_pixels)).encode("ascii"))
        _limit_time(0)


def _answer(answers: BinaryIO, line: bytes) -> None:
    answers.write(line + b"\n")
    answers.flush()


def _examine(path: Path, max_pixels: int) -> dict[str, object]:
    thumbnail, fault = _attempt(lambda: render_thumbnail(path, max_pixels=max_pixels), None)
    nothing: tuple[Measurement, ...] = ()
    measurements, other_fault = _attempt(lambda: read_measurements(path), nothing)
    return {
        "thumbnail": None if thumbnail is None else base64.b64encode(thumbnail).decode("ascii"),
        "measurements": [asdict(measurement) for measurement in measurements],
        "failure": "; ".join(dict.fromkeys(filter(None, (fault, other_fault)))),
    }


def _attempt(work: Callable[[], _Found], otherwise: _Found) -> tuple[_Found, str]:
    """What `work` returns and what went wrong, "" for nothing. Foreign error texts may quote a patient: type only."""
    try:
        return work(), ""
    except GatewayError as error:
        return otherwise, str(error)
    except Exception as error:  # here a job begins
        return otherwise, f"unexpected {type(error).__name__}"


def _take_standard_output() -> BinaryIO:
    """Standard output for the answers alone: what C libraries print goes nowhere."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())
    return answers


def _restrict() -> None:
    """Ctrl-C is the parent's; pydicom is silent and lenient; memory is bounded and never dumped to disk."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
    if sys.platform != "win32":
        import resource  # noqa: PLC0415 - absent on Windows

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        _, most = resource.getrlimit(resource.RLIMIT_AS)
        wanted = _reserved_bytes() + _MEMORY_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (wanted if most < 0 else min(wanted, most), most))


def _reserved_bytes() -> int:
    """Address space in use; numpy reserves some for every core. 0 where the system does not tell."""
    try:
        pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[0]
    except OSError:
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def _limit_time(seconds: float) -> None:
    """The process ends `seconds` from now; 0 lifts the limit."""
    if sys.platform != "win32":
        signal.setitimer(signal.ITIMER_REAL, seconds)
