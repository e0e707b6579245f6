"""A display, real or virtual, for the window."""

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import tkinter

WITHIN_S = 20.0


@pytest.fixture(scope="session")
def display() -> Iterator[None]:
    """DISPLAY names a screen: the one there is, else an Xvfb that ends with the tests."""
    pytest.importorskip("tkinter", reason="this Python has no Tk")
    if os.environ.get("DISPLAY"):
        yield
        return
    if shutil.which("Xvfb") is None:
        pytest.skip("no display, and Debian's xvfb is not installed")
    reader, writer = os.pipe()
    command = ["Xvfb", "-displayfd", str(writer), "-screen", "0", "1200x900x24", "-nolisten", "tcp"]
    with subprocess.Popen(command, pass_fds=[writer], stderr=subprocess.DEVNULL) as server:
        os.close(writer)
        with os.fdopen(reader) as said:
            number = said.readline().strip()
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("DISPLAY", f":{number}")
            yield
        server.terminate()


@pytest.fixture
def root(display: None) -> Iterator["tkinter.Tk"]:
    """A top window, gone after the test."""
    import tkinter

    top = tkinter.Tk()
    yield top
    with suppress(tkinter.TclError):  # the test may have closed it
        top.destroy()


@pytest.fixture
def eventually() -> Callable[[Callable[[], object], Callable[[], object]], None]:
    """Waits until its first argument is true, calling the second again and again."""

    def wait(is_so: Callable[[], object], go_on: Callable[[], object]) -> None:
        deadline = time.monotonic() + WITHIN_S
        while not is_so():
            assert time.monotonic() < deadline, "it never came true"
            go_on()
            time.sleep(0.01)

    return wait
