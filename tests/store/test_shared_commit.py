"""Many writers of SQLite share one durable commit, and each answers for its own work alone."""

import sqlite3
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from gateway.store import changes
from gateway.store.database import Database, Tx

AT = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "gateway.db"


@pytest.fixture
def database(path: Path) -> Database:
    database = Database(f"sqlite:///{path}")
    database.upgrade()
    return database


def _refs(path: Path) -> list[int]:
    """What another process would find in the file now."""
    connection = sqlite3.connect(path)
    try:
        return sorted(ref for (ref,) in connection.execute("SELECT ref FROM changes"))
    finally:
        connection.close()


def _at_once(database: Database, works: list[Callable[[Tx], None]]) -> list[BaseException | None]:
    """How each piece of work ended, all of them waiting for their turn together."""
    ended: list[BaseException | None] = [None] * len(works)
    gate = threading.Barrier(len(works))

    def run(number: int) -> None:
        gate.wait()
        try:
            with database.write() as tx:
                works[number](tx)
        except Exception as error:
            ended[number] = error

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return ended


def _noting(ref: int) -> Callable[[Tx], None]:
    return lambda tx: changes.note(tx, "order", ref, AT)


def test_what_a_writer_did_is_in_the_file_when_it_returns(database: Database, path: Path) -> None:
    seen: list[bool] = []

    def write(ref: int) -> None:
        for number in range(20):
            with database.write() as tx:
                changes.note(tx, "order", ref * 100 + number, AT)
            seen.append(ref * 100 + number in _refs(path))

    threads = [threading.Thread(target=write, args=(ref,)) for ref in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert seen == [True] * 160
    assert _refs(path) == sorted(ref * 100 + number for ref in range(8) for number in range(20))
    database.close()


def test_a_writer_that_fails_takes_back_its_own_work_only(database: Database, path: Path) -> None:
    def failing(tx: Tx) -> None:
        changes.note(tx, "order", 99, AT)
        raise LookupError("mine alone")

    ended = _at_once(database, [_noting(1), failing, _noting(2), failing, _noting(3)])
    assert [type(error) for error in ended] == [type(None), LookupError, type(None), LookupError, type(None)]
    assert _refs(path) == [1, 2, 3]
    database.close()


def test_a_commit_that_fails_fails_everyone_who_leaned_on_it_and_nobody_later(
    database: Database, path: Path
) -> None:
    def orphan(tx: Tx) -> None:
        tx.connection.execute(text("PRAGMA defer_foreign_keys = ON"))
        tx.connection.execute(
            text(
                "INSERT INTO sessions (token_sha256, user_id, created_at, seen_at) "
                "VALUES ('x', 77, '2026-11-23 09:30:00', '2026-11-23 09:30:00')"
            )
        )

    with database.write() as tx:
        changes.note(tx, "order", 1, AT)
    holds, waits = threading.Event(), threading.Event()
    ended: list[BaseException] = []

    def first() -> None:
        try:
            with database.write() as tx:
                changes.note(tx, "order", 2, AT)
                holds.set()
                waits.wait(10)
        except IntegrityError as error:
            ended.append(error)

    def second() -> None:
        try:
            with database.write() as tx:
                orphan(tx)
        except IntegrityError as error:
            ended.append(error)

    one, two = threading.Thread(target=first), threading.Thread(target=second)
    one.start()
    holds.wait(10)
    two.start()
    time.sleep(1)  # the second is at the door by now
    waits.set()
    one.join(10)
    two.join(10)
    assert len(ended) == 2
    assert _refs(path) == [1]
    with database.write() as tx:
        changes.note(tx, "order", 3, AT)
    assert _refs(path) == [1, 3]
    database.close()
