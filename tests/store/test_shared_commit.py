"""Many writers of SQLite share one durable commit, and each answers for its own work alone."""

import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from gateway.model.errors import Unavailable
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


def _orphan(tx: Tx) -> None:
    tx.connection.execute(text("PRAGMA defer_foreign_keys = ON"))
    tx.connection.execute(
        text(
            "INSERT INTO sessions (token_sha256, user_id, created_at, seen_at) "
            "VALUES ('x', 77, '2026-11-23 09:30:00', '2026-11-23 09:30:00')"
        )
    )


def test_a_commit_that_fails_fails_everyone_who_leaned_on_it_and_nobody_later(
    database: Database, path: Path
) -> None:
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
                _orphan(tx)
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


def _fills_the_disk(tx: Tx) -> None:
    """As on a disk without space: SQLite then takes back the whole transaction, not the statement alone."""
    tx.connection.execute(text("PRAGMA max_page_count = 1"))  # as many as there are
    tx.connection.execute(text("INSERT INTO facts_of_a_day VALUES (zeroblob(10000000))"))


def _one_after_another(database: Database, works: list[Callable[[Tx], None]]) -> None:
    """The works of one thread, done together; those that fail are passed over."""
    with database.together():
        for work in works:
            with suppress(LookupError, Unavailable), database.write() as tx:
                work(tx)


def _failing(tx: Tx) -> None:
    changes.note(tx, "order", 99, AT)
    raise LookupError("mine alone")


def test_a_full_disk_fails_all_who_shared_the_transaction_that_it_took_back(
    database: Database, path: Path
) -> None:
    with database.write() as tx:
        tx.connection.execute(text("CREATE TABLE facts_of_a_day (a BLOB)"))
        changes.note(tx, "order", 1, AT)
    with pytest.raises(Unavailable, match="full"):
        _one_after_another(database, [_noting(2), _fills_the_disk, _noting(3)])
    assert _refs(path) == [1, 3]  # the third had a transaction of its own
    with database.write() as tx:
        changes.note(tx, "order", 4, AT)
    assert _refs(path) == [1, 3, 4]
    database.close()


def test_what_is_done_together_is_durable_at_the_end_and_not_before(database: Database, path: Path) -> None:
    told: list[str] = []
    with database.together():
        for ref in (1, 2):
            with database.write() as tx:
                changes.note(tx, "order", ref, AT)
        database.once_durable(lambda: told.append(f"{_refs(path)}"))
        assert (_refs(path), told) == ([], [])
    assert (_refs(path), told) == ([1, 2], ["[1, 2]"])
    database.once_durable(lambda: told.append("at once"))
    assert told[1:] == ["at once"]
    database.close()


def test_of_what_is_done_together_only_what_failed_is_taken_back(database: Database, path: Path) -> None:
    _one_after_another(database, [_noting(1), _failing, _noting(2)])
    assert _refs(path) == [1, 2]
    database.close()


def test_whoever_waits_does_not_wait_for_the_end_of_what_another_does_together(
    database: Database, path: Path
) -> None:
    with database.together():
        with database.write() as tx:
            changes.note(tx, "order", 1, AT)
        other = threading.Thread(target=lambda: _at_once(database, [_noting(2)]))
        other.start()
        other.join(10)
        assert _refs(path) == [1, 2]
        with database.write() as tx:
            changes.note(tx, "order", 3, AT)
    assert _refs(path) == [1, 2, 3]
    database.close()


def test_a_commit_that_fails_at_the_end_of_what_was_done_together_is_told_there(
    database: Database, path: Path
) -> None:
    told: list[str] = []

    def note_the_end(_: Tx) -> None:
        database.once_durable(lambda: told.append("durable"))

    with pytest.raises(IntegrityError):
        _one_after_another(database, [_noting(1), _orphan, note_the_end])
    assert (_refs(path), told) == ([], [])
    with database.write() as tx:
        changes.note(tx, "order", 2, AT)
    assert _refs(path) == [2]
    database.close()
