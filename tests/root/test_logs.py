"""What a log line says, on the terminal and in the file."""

import json
import subprocess
import sys
from pathlib import Path

SPEAKER = """
import logging, sys
from pathlib import Path
from gateway import logs

logs.configure(file=Path(sys.argv[1]), level="INFO", max_bytes=400, kept_files=3)
log = logging.getLogger("gateway.test")
log.info("order.stored", extra={"order": 7, "state": "sent", "path": Path("/a")})
log.warning("%d left", 3)
log.debug("unheard")
try:
    raise ValueError("why")
except ValueError:
    log.exception("order.failed", extra={"order": 8})
"""


def spoken(folder: Path) -> tuple[list[dict[str, object]], str]:
    """The lines of the files, oldest first, and what stood on the terminal."""
    command = [sys.executable, "-c", SPEAKER, str(folder / "gateway.log")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    files = sorted(folder.glob("gateway.log*"), reverse=True)  # .2, .1, and the one without a number
    lines = [line for path in files for line in path.read_text("utf-8").splitlines()]
    return [json.loads(line) for line in lines], done.stderr


def test_the_file_has_one_object_a_line_with_what_was_said(tmp_path: Path) -> None:
    (stored, left, failed), _ = spoken(tmp_path)
    assert stored.pop("timestamp") <= left.pop("timestamp")  # type: ignore[operator]  # both are text
    assert stored == {
        "event": "order.stored", "level": "info", "logger": "gateway.test", "order": 7, "state": "sent", "path": "/a",
    }  # fmt: skip
    assert left == {"event": "3 left", "level": "warning", "logger": "gateway.test"}
    assert failed["order"] == 8
    assert str(failed["exception"]).endswith("ValueError: why")


def test_the_terminal_has_the_same_at_the_same_instant(tmp_path: Path) -> None:
    (stored, *_), terminal = spoken(tmp_path)
    first, second, third, *traceback = terminal.splitlines()
    assert first.startswith(str(stored["timestamp"]))
    assert "[info     ] order.stored" in first
    assert "order=7" in first
    assert "3 left" in second
    assert "order.failed" in third
    assert traceback[-1] == "ValueError: why"
    assert "unheard" not in terminal
