"""Logs: one line an event, to the terminal and to a rotated file, with our own ids and no patient data."""

import logging
import logging.config
import warnings
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

import structlog

_SHARED: list[Any] = [
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.ExtraAdder(),
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.format_exc_info,
]


class RotatedFile(RotatingFileHandler):
    """Rotates before the line after the one that passed the limit: the library would render every line twice."""

    def shouldRollover(self, record: logging.LogRecord) -> bool:  # noqa: N802 - logging's name
        """Whether the file is full."""
        if self.stream is None:  # after a rotation
            self.stream = self._open()
        return self.maxBytes > 0 and self.stream.tell() >= self.maxBytes


def configure(*, file: Path, level: str, max_bytes: int, kept_files: int) -> None:
    """Every logger writes to the terminal, readably, and to `file` as JSON, rotated at `max_bytes`."""
    file.parent.mkdir(parents=True, exist_ok=True)
    warnings.filterwarnings("ignore", module="pydicom")  # they quote the values of odd elements
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {
                "terminal": _formatter(structlog.dev.ConsoleRenderer(colors=False, pad_event_to=24)),
                "json": _formatter(structlog.processors.JSONRenderer()),
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


def _formatter(renderer: Any) -> dict[str, Any]:
    return {
        "()": structlog.stdlib.ProcessorFormatter,
        "foreign_pre_chain": _SHARED,
        "processors": [structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
    }
