import sqlite3
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import text

from gateway.model.errors import Invalid, Unavailable
from gateway.store import changes
from gateway.store.database import Database
from gateway.store.tables import metadata

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)


def test_the_migrations_make_the_tables_the_code_knows(database: Database) -> None:
    with database.read() as tx:
        context = MigrationContext.configure(tx.connection)
        assert compare_metadata(context, metadata) == []


def test_an_upgraded_database_is_current_and_upgrading_again_changes_nothing(database: Database) -> None:
    assert database.is_current()
    database.upgrade()
    assert database.is_current()


def test_an_error_takes_the_whole_transaction_back(database: Database) -> None:
    def note_and_fail() -> None:
        with database.write() as tx:
            changes.note(tx, "order", 1, NOW)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        note_and_fail()
    with database.read() as tx:
        assert changes.latest(tx) == 0


def test_a_commit_on_sqlite_is_synced_to_the_disk(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/g.db")
    with database.read() as tx:
        assert tx.connection.execute(text("PRAGMA synchronous")).scalar_one() == 2  # FULL
        assert tx.connection.execute(text("PRAGMA journal_mode")).scalar_one() == "wal"
        assert tx.connection.execute(text("PRAGMA foreign_keys")).scalar_one() == 1
    database.close()


def test_many_writers_lose_nothing(database: Database) -> None:
    def write() -> None:
        for _ in range(20):
            with database.write() as tx:
                before = changes.latest(tx)
                changes.note(tx, "order", before, NOW)

    threads = [threading.Thread(target=write) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.read() as tx:
        assert len(changes.since(tx, 0)) == 160


def test_a_named_lock_is_held_by_one_transaction_at_a_time(database: Database) -> None:
    seen: list[int] = []

    def append_next() -> None:
        for _ in range(10):
            with database.write() as tx:
                tx.lock("numbers")
                number = changes.latest(tx)
                changes.note(tx, "order", number, NOW)
                seen.append(number)

    threads = [threading.Thread(target=append_next) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(seen)) == 40


def test_an_instant_without_a_zone_is_refused(database: Database) -> None:
    with pytest.raises(Exception, match="zone"), database.write() as tx:
        changes.note(tx, "order", 1, datetime(2026, 1, 1))  # noqa: DTZ001


@pytest.mark.parametrize("url", ["nonsense", "mysql://h/d", "oracle+thick://h"])
def test_an_address_that_is_no_database_is_refused(url: str) -> None:
    with pytest.raises(Invalid, match=r"store\.url"):
        Database(url)


def test_a_database_that_does_not_answer_is_unavailable_and_its_text_holds_no_parameters(
    tmp_path: Path,
) -> None:
    database = Database(f"sqlite:///{tmp_path}/g.db")
    with pytest.raises(Unavailable) as raised, database.write() as tx:
        changes.note(tx, "secret-topic", 1, NOW)  # the tables are not there yet
    assert "secret-topic" not in str(raised.value)
    database.close()


def test_a_backup_of_a_running_sqlite_database_holds_what_was_committed(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/g.db")
    database.upgrade()
    with database.write() as tx:
        changes.note(tx, "order", 7, NOW)
    with database.write():  # a transaction in progress does not disturb it
        database.backup(tmp_path / "copy.db")
    database.close()
    copy = sqlite3.connect(tmp_path / "copy.db")
    assert copy.execute("SELECT topic, ref FROM changes").fetchall() == [("order", 7)]
    copy.close()
