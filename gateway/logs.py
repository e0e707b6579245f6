"""Logs: one line an event, to the terminal and to a rotated file, with our own ids and no patient data."""

import logging
import logging.config
import warnings
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

from pydantic_core import to_json
from structlog.dev import ConsoleRenderer
from structlog.processors import JSONRenderer

from gateway.model.errors import Invalid

_OF_LIBRARY = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "gathered"}
"""What every record has; the rest of one is what was said with it (`extra`)."""


_traceback = logging.Formatter()


class Line(logging.Formatter):
    """A record as one of structlog's renderers writes it.

    What a record says is gathered once, however many handlers write it: a message writes a line to each.
    """

    def __init__(self, render: Any) -> None:
        super().__init__()
        self._render = render

    def format(self, record: logging.LogRecord) -> str:
        """The line, its traceback included."""
        gathered = record.__dict__.get("gathered")
        if gathered is None:
            gathered = record.__dict__["gathered"] = _gather(record)
        line: str = self._render(None, record.levelname.lower(), dict(gathered))
        return line


class RotatedFile(RotatingFileHandler):
    """Rotates before the line after the one that passed the limit: the library would render every line twice."""

    def shouldRollover(self, record: logging.LogRecord) -> bool:  # noqa: N802 - logging's name
        """Whether the file is full."""
        if self.stream is None:  # after a rotation
            self.stream = self._open()
        return self.maxBytes > 0 and self.stream.tell() >= self.maxBytes


def configure(*, file: Path, level: str, max_bytes: int, kept_files: int) -> None:
    """Every logger writes to the terminal, readably, and to `file` as JSON, rotated at `max_bytes`.

    Raises Invalid when the file cannot be written.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.open("ab").close()
    except OSError as error:
        raise Invalid(f"log.file: {file} cannot be written: {error.strerror}") from None
    # Nothing of ours is made of these, and every line would pay for them. Source: Python, logging HOWTO, optimization.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    warnings.filterwarnings("ignore", module="pydicom")  # they quote the values of odd elements
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {
                "terminal": {"()": Line, "render": ConsoleRenderer(colors=False, pad_event_to=24)},
                "json": {"()": Line, "render": JSONRenderer(_json)},
            },
            "handlers": {
                "terminal": {"class": "logging.StreamHandler", "formatter": "terminal"},
                "file": {
                    "class": "gateway.logs.RotatedFile",
                    "formatter": "json",
                    "filename": str(file),
                    "maxBytes": max_bytes,
                    "backupCount": kept_files,
                    "encoding": "utf-8",
                },
            },
            "root": {"level": level, "handlers": ["terminal", "file"]},
            "loggers": {
                # These would print identifiers, addresses or values of every request.
                "pydicom": {"level": "CRITICAL"},
                "pynetdicom": {"level": "WARNING"},
                "httpx": {"level": "WARNING"},
                "httpcore": {"level": "WARNING"},
                "uvicorn": {"level": "WARNING"},
                "alembic": {"level": "WARNING"},
            },
        }
    )


def _json(event: object, **_: object) -> str:
    return to_json(event, fallback=repr).decode()


def _gather(record: logging.LogRecord) -> dict[str, Any]:
    """The event, its time and level, what was said with it, and the traceback when there is one."""
    at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds")
    gathered: dict[str, Any] = {
        "event": record.getMessage(),
        "level": record.levelname.lower(),
        "logger": record.name,
        "timestamp": at.replace("+00:00", "Z"),
    }
    gathered |= {name: value for name, value in record.__dict__.items() if name not in _OF_LIBRARY}
    if record.exc_info:
        gathered["exception"] = _traceback.formatException(record.exc_info)
    return gathered
