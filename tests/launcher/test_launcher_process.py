"""The child process, without a window."""

import sys
import threading
from collections.abc import Callable, Iterator

import pytest

from gateway.launcher_process import MAX_LINES, Child, State

Eventually = Callable[[Callable[[], object], Callable[[], object]], None]

STAY = "import time; print('open', flush=True); time.sleep(600)"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {STAY}"


def state(child: Child) -> State:
    """Where it stands now; a function, so that the type checker does not take one answer for ever."""
    return child.status.state


@pytest.fixture
def make() -> Iterator[Callable[..., Child]]:
    """Children that end with the test."""
    made: list[Child] = []

    def child(code: str, is_ready: Callable[[], bool] = lambda: True, grace_s: float = 10.0) -> Child:
        made.append(Child((sys.executable, "-c", code), is_ready, grace_s=grace_s))
        return made[-1]

    yield child
    for each in made:
        each.close()


def test_a_child_that_answers_is_running_and_stops(
    make: Callable[..., Child], eventually: Eventually
) -> None:
    child = make(STAY)
    assert state(child) is State.STOPPED
    child.start()
    assert state(child) is State.STARTING
    eventually(lambda: state(child) is State.RUNNING, child.poll)
    eventually(lambda: child.lines() == (1, ("open",)), child.poll)
    child.stop()
    assert state(child) is State.STOPPING
    eventually(lambda: state(child) is State.STOPPED, child.poll)
    assert child.status.reason == ""


def test_a_child_that_does_not_answer_yet_is_starting(
    make: Callable[..., Child], eventually: Eventually
) -> None:
    ready = threading.Event()
    child = make(STAY, ready.is_set)
    child.start()
    eventually(lambda: child.lines()[0] == 1, child.poll)
    child.poll()
    assert state(child) is State.STARTING
    ready.set()
    eventually(lambda: state(child) is State.RUNNING, child.poll)


def test_a_child_that_dies_says_why(make: Callable[..., Child], eventually: Eventually) -> None:
    child = make("import sys; print('settings: http.prot: unknown key\\n'); sys.exit(2)", lambda: False)
    child.start()
    eventually(lambda: state(child) is State.FAILED, child.poll)
    assert child.status.reason == "settings: http.prot: unknown key"


def test_a_child_that_dies_silently_shows_its_status(
    make: Callable[..., Child], eventually: Eventually
) -> None:
    child = make("import sys; sys.exit(3)", lambda: False)
    child.start()
    eventually(lambda: state(child) is State.FAILED, child.poll)
    assert child.status.reason == "it ended with status 3"


def test_it_can_be_started_again(make: Callable[..., Child], eventually: Eventually) -> None:
    child = make("print('once')", lambda: False)
    for count in (1, 2):
        child.start()
        eventually(lambda: state(child) is State.FAILED, child.poll)
        assert child.lines()[0] == count


def test_a_child_that_will_not_end_is_killed(make: Callable[..., Child], eventually: Eventually) -> None:
    child = make(STUBBORN, grace_s=0.2)
    child.start()
    eventually(lambda: child.lines()[0] == 1, child.poll)
    child.stop()
    eventually(lambda: state(child) is State.STOPPED, child.poll)


def test_closing_waits_for_the_end(make: Callable[..., Child], eventually: Eventually) -> None:
    child = make(STUBBORN, grace_s=0.2)
    child.start()
    eventually(lambda: child.lines()[0] == 1, child.poll)
    child.close()
    assert state(child) is State.STOPPED


def test_the_log_is_bounded(make: Callable[..., Child], eventually: Eventually) -> None:
    many = MAX_LINES * 3
    child = make(f"for number in range({many}): print(number)", lambda: False)
    child.start()
    eventually(lambda: state(child) is State.FAILED, child.poll)
    written, held = child.lines()
    assert written == many
    assert len(held) == MAX_LINES
    assert held[-1] == str(many - 1)
    assert child.lines(many - 2)[1] == (str(many - 2), str(many - 1))
    assert child.lines(many)[1] == ()


def test_what_cannot_be_started_has_failed() -> None:
    child = Child(("/nowhere/at/all",), lambda: True)
    child.start()
    assert state(child) is State.FAILED
    assert "cannot be started" in child.status.reason
