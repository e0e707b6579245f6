"""Threads with jobs: they go on after a failure, and end when they are told to."""

import threading

import pytest

from gateway.model.errors import Unavailable
from gateway.workers import Workers

PATIENCE_S = 20.0


def test_a_job_that_fails_says_so_and_is_done_again(caplog: pytest.LogCaptureFixture) -> None:
    failures = [Unavailable("the database does not answer"), KeyError("x")]
    is_well = threading.Event()

    def job() -> None:
        if failures:
            raise failures.pop(0)
        is_well.set()

    workers = Workers()
    workers.start("shaky", 0.0, job)
    assert is_well.wait(PATIENCE_S)
    assert workers.dead == ()
    workers.stop()
    workers.join()
    told = [(record.message, record.levelname) for record in caplog.records]
    assert told == [("worker.trouble", "WARNING"), ("worker.failed", "ERROR")]


def test_all_end_when_they_are_told_to_and_none_begins_anew() -> None:
    workers, times = Workers(), [0, 0]
    is_begun = threading.Event()

    def quick() -> None:
        times[0] += 1
        is_begun.set()

    def patient() -> None:
        while not workers.is_stopping():
            is_begun.wait(0.01)
        times[1] += 1

    workers.start("quick", 3600.0, quick)
    workers.start("patient", 0.0, patient)
    assert is_begun.wait(PATIENCE_S)
    workers.stop()
    workers.join()
    assert workers.dead == ("quick", "patient")
    assert times == [1, 1]
