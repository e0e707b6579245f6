"""The worker process: what it answers, and that nothing an object does outlives or harms it."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from gateway.imaging.measurements import read_measurements
from gateway.imaging.worker import CRASHED, TIMED_OUT, Examined, PictureWorker
from gateway.model.errors import Unavailable

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/stat").exists(), reason="processes are seen through /proc"
)

PATIENCE_S = 30.0
"""How long a test waits for what must happen; reached only when it does not."""

NOTHING = Examined(thumbnail=None, measurements=(), failure="")


def test_an_image_is_examined(worker: PictureWorker, bundled: Callable[[str], Path]) -> None:
    examined = worker.examine(bundled("examples_palette.dcm"))
    assert (examined.measurements, examined.failure) == ((), "")
    assert examined.thumbnail is not None
    with Image.open(BytesIO(examined.thumbnail)) as picture:
        assert picture.size == (200, 88)


def test_a_report_is_examined(worker: PictureWorker, bundled: Callable[[str], Path]) -> None:
    path = bundled("test-SR.dcm")
    examined = worker.examine(path)
    assert examined == Examined(thumbnail=None, measurements=read_measurements(path), failure="")
    assert len(examined.measurements) == 2


def test_what_is_neither_gives_nothing(worker: PictureWorker, bundled: Callable[[str], Path]) -> None:
    assert worker.examine(bundled("rtplan.dcm")) == NOTHING


def test_a_failure_names_the_fault_once_and_no_value(
    worker: PictureWorker, bundled: Callable[[str], Path], tmp_path: Path
) -> None:
    assert worker.examine(bundled("MR_truncated.dcm")).failure == "data set: cannot be read (ValueError)"
    missing = worker.examine(tmp_path / "Doe-Jane.dcm")
    assert missing.failure == "the object's file cannot be opened"


def test_the_pixel_limit_reaches_the_process(bundled: Callable[[str], Path]) -> None:
    with PictureWorker(time_limit_s=PATIENCE_S, max_pixels=100) as worker:
        assert "more pixels than the limit" in worker.examine(bundled("MR_small.dcm")).failure


def test_one_process_serves_object_after_object(
    worker: PictureWorker, bundled: Callable[[str], Path]
) -> None:
    assert _workers() == []
    worker.examine(bundled("MR_small.dcm"))
    first = _workers()
    worker.examine(bundled("CT_small.dcm"))
    assert len(first) == 1
    assert _workers() == first


def test_an_object_that_takes_too_long_fails_and_the_next_is_examined(
    bundled: Callable[[str], Path], tmp_path: Path
) -> None:
    with PictureWorker(time_limit_s=2, max_pixels=10_000_000) as worker:
        worker.examine(bundled("MR_small.dcm"))
        late = _workers()
        assert worker.examine(_endless(tmp_path)).failure == TIMED_OUT
        assert _workers() == []
        assert worker.examine(bundled("MR_small.dcm")).thumbnail is not None
        assert _workers() != late


def test_a_crash_fails_one_object_and_the_next_is_examined(
    worker: PictureWorker, bundled: Callable[[str], Path], tmp_path: Path
) -> None:
    worker.examine(bundled("MR_small.dcm"))
    endless = _endless(tmp_path)
    (crashing,) = _workers()
    with ThreadPoolExecutor() as pool:
        job = pool.submit(worker.examine, endless)
        with _being_read(endless):
            os.kill(crashing, signal.SIGSEGV)
        assert job.result(PATIENCE_S).failure == CRASHED
    assert worker.examine(bundled("MR_small.dcm")).failure == ""


def test_a_process_that_died_between_two_objects_costs_no_object(
    worker: PictureWorker, bundled: Callable[[str], Path]
) -> None:
    worker.examine(bundled("MR_small.dcm"))
    (idle,) = _workers()
    os.kill(idle, signal.SIGKILL)
    _wait_until(lambda: _state(idle) in {"", "Z"})
    assert worker.examine(bundled("MR_small.dcm")).failure == ""


def test_ctrl_c_is_left_to_the_parent(worker: PictureWorker, bundled: Callable[[str], Path]) -> None:
    worker.examine(bundled("MR_small.dcm"))
    (child,) = _workers()
    os.kill(child, signal.SIGINT)
    assert worker.examine(bundled("MR_small.dcm")).failure == ""
    assert _workers() == [child]
    assert os.getpgid(child) != os.getpgid(0)


def test_no_socket_is_inherited(worker: PictureWorker, bundled: Callable[[str], Path]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.set_inheritable(True)
        worker.examine(bundled("MR_small.dcm"))
        (child,) = _workers()
        files = [str(entry.readlink()) for entry in Path(f"/proc/{child}/fd").iterdir()]
    assert [name for name in files if name.startswith("socket:")] == []


def test_threads_take_turns(worker: PictureWorker, bundled: Callable[[str], Path]) -> None:
    paths = [bundled("test-SR.dcm"), bundled("MR_small.dcm")] * 4
    with ThreadPoolExecutor(max_workers=4) as pool:
        examined = list(pool.map(worker.examine, paths))
    assert [len(one.measurements) for one in examined] == [2, 0] * 4
    assert [one.thumbnail is None for one in examined] == [True, False] * 4


def test_nothing_is_left_after_close(bundled: Callable[[str], Path]) -> None:
    worker = PictureWorker(time_limit_s=PATIENCE_S, max_pixels=10_000_000)
    worker.close()
    worker = PictureWorker(time_limit_s=PATIENCE_S, max_pixels=10_000_000)
    worker.examine(bundled("MR_small.dcm"))
    worker.close()
    worker.close()
    assert _workers() == []
    with pytest.raises(Unavailable):
        worker.examine(bundled("MR_small.dcm"))


def test_closing_does_not_blame_the_object_at_work(tmp_path: Path, bundled: Callable[[str], Path]) -> None:
    before = set(threading.enumerate())
    worker = PictureWorker(time_limit_s=PATIENCE_S, max_pixels=10_000_000)
    worker.examine(bundled("MR_small.dcm"))
    endless = _endless(tmp_path)
    with ThreadPoolExecutor() as pool:
        job = pool.submit(worker.examine, endless)
        with _being_read(endless):
            worker.close()
        with pytest.raises(Unavailable):
            job.result(PATIENCE_S)
    assert _workers() == []
    assert set(threading.enumerate()) <= before


@pytest.mark.parametrize("is_at_work", [False, True])
def test_a_parent_that_dies_leaves_no_process(
    bundled: Callable[[str], Path], tmp_path: Path, is_at_work: bool
) -> None:
    program = (
        "import sys; from pathlib import Path; from gateway.imaging.worker import PictureWorker\n"
        "worker = PictureWorker(1.0, 10_000_000); worker.examine(Path(sys.argv[1]))\n"
        "print('ready', flush=True)\n"
        "worker.examine(Path(sys.argv[2])) if len(sys.argv) > 2 else sys.stdin.read()\n"
    )
    endless = _endless(tmp_path)
    command = [sys.executable, "-c", program, str(bundled("MR_small.dcm"))]
    if is_at_work:
        command.append(str(endless))
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"ready\n"
        (child,) = _workers(parent.pid)
        with _being_read(endless) if is_at_work else nullcontext():
            parent.kill()
            parent.wait()
            _wait_until(lambda: _state(child) in {"", "Z"})


@pytest.mark.parametrize("program", ["", "exit 1", "echo; read job; exit 1"])
def test_a_process_that_does_not_start_or_takes_no_job_is_not_the_objects_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    monkeypatch.setattr(sys, "executable", str(_interpreter(tmp_path, program) if program else tmp_path))
    with PictureWorker(PATIENCE_S, 10_000_000) as worker, pytest.raises(Unavailable):
        worker.examine(tmp_path)


@pytest.mark.parametrize(
    "answer",
    ["nonsense", "[]", "{}", '{"thumbnail": 5}', '{"thumbnail": null, "measurements": [1], "failure": ""}'],
)
def test_a_process_that_was_taken_over_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    interpreter = _interpreter(tmp_path, f"echo; read job; echo; echo '{answer}'; exec sleep 600")
    monkeypatch.setattr(sys, "executable", str(interpreter))
    with PictureWorker(PATIENCE_S, 10_000_000) as worker:
        assert worker.examine(tmp_path).failure == CRASHED


@pytest.mark.corpora
def test_the_process_survives_the_corpora(
    worker: PictureWorker, corpora: Path, corpora_rows: Callable[[str], list[dict[str, str]]]
) -> None:
    """Every fifth image; each is rendered in this process elsewhere."""
    pictures = [
        worker.examine(corpora / row["file"]).thumbnail for row in corpora_rows("index-images.tsv")[::5]
    ]
    assert len([picture for picture in pictures if picture is not None]) > 30
    assert len(_workers()) == 1


def _interpreter(folder: Path, program: str) -> Path:
    """A program that stands in the interpreter's place and plays the worker process."""
    path = folder / "interpreter"
    path.write_text(f"#!/bin/sh\n{program}\n")
    path.chmod(0o755)
    return path


def _endless(folder: Path) -> Path:
    """A file that nobody ever writes: opening it takes for ever."""
    path = folder / "endless"
    os.mkfifo(path)
    return path


def _workers(parent: int | None = None) -> list[int]:
    """The process ids of the worker processes of `parent`, else of ours."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            line = (folder / "cmdline").read_bytes() if folder.name.isdecimal() else b""
            owner = (folder / "stat").read_text().rpartition(")")[2].split()[1] if line else ""
        except OSError:
            continue
        if b"gateway.imaging.examiner" in line and owner == str(parent or os.getpid()):
            found.append(int(folder.name))
    return found


def _state(process: int) -> str:
    """The process's state letter; "" when it is gone."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


@contextmanager
def _being_read(endless: Path) -> Iterator[None]:
    """Within it a process has the endless file open and waits for what never comes."""
    writers: list[int] = []

    def has_reader() -> bool:
        try:
            writers.append(os.open(endless, os.O_WRONLY | os.O_NONBLOCK))
        except OSError:
            return False
        return True

    _wait_until(has_reader)
    yield
    os.close(writers[0])


def _wait_until(is_true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not is_true():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)
