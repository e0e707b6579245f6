"""A ready statement says and stores what SQLAlchemy's own execution does, on every database."""

import sqlite3
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import (
    JSON,
    Column,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    bindparam,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.exc import MultipleResultsFound

from gateway.model.errors import Unavailable
from gateway.store.columns import Instant, PlainText
from gateway.store.database import Database, Tx
from gateway.store.ready import Ready

AT = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)

things = Table(
    "things", MetaData(), Column("id", Integer, primary_key=True), Column("name", PlainText, nullable=False),
    Column("at", Instant), Column("raw", LargeBinary), Column("json", JSON), Column("size", Integer),
    prefixes=["TEMPORARY"],
)  # fmt: skip
ADD = Ready(insert(things).returning(things.c.id))
ADD_ALL = Ready(insert(things))
OF_NAME = Ready(select(things).where(things.c.name == bindparam("named")).order_by(things.c.id))
NEWEST = Ready(select(things.c.name, things.c.at).order_by(things.c.id.desc()).limit(1))
RENAME = Ready(update(things).where(things.c.id == bindparam("of_id")))
HOW_MANY = Ready(select(func.count()).select_from(things))

instants = st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30))]))
rows = st.fixed_dictionaries(
    {
        "name": st.text(max_size=20),
        "at": st.none() | instants,
        "raw": st.none() | st.binary(max_size=20),
        "json": st.recursive(
            st.booleans() | st.integers(-9999, 9999) | st.text('aé\U0001f600"\\\\', max_size=5),
            lambda inner: (
                st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=2), inner, max_size=3)
            ),
            max_leaves=5,
        ),
        "size": st.none() | st.integers(-(2**31), 2**31 - 1),
    }
)


def _table(tx: Tx) -> None:
    things.create(tx.connection)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(row=rows)
def test_what_is_written_and_read_is_what_sqlalchemy_writes_and_reads(
    database: Database, row: dict[str, Any]
) -> None:
    with database.write() as tx:
        _table(tx)
        ours = ADD.value(tx, row)
        theirs = tx.connection.execute(insert(things).returning(things.c.id), row).scalar_one()
        both = select(things).where(things.c.id.in_([ours, theirs])).order_by(things.c.id)
        mine, other = tx.connection.execute(both).all()
        assert mine[1:] == other[1:]
        (read, _) = OF_NAME.rows(tx, {"named": row["name"]}) if "\0" not in row["name"] else (mine, other)
        assert tuple(read) == tuple(mine)
        assert (read.name, read.at, read.raw, read.json, read.size) == tuple(other[1:])
        things.drop(tx.connection)


def test_one_row_none_and_too_many(database: Database) -> None:
    with database.write() as tx:
        _table(tx)
        assert OF_NAME.row(tx, {"named": "a"}) is None
        assert NEWEST.value(tx, {}) is None
        ADD_ALL.run_all(tx, [{"name": "a", "at": AT}, {"name": "b", "at": None}])
        ADD_ALL.run_all(tx, [])
        assert OF_NAME.row(tx, {"named": "a"}).at == AT
        assert NEWEST.row(tx, {}).name == "b"
        assert HOW_MANY.value(tx, {}) == 2
        ADD_ALL.run(tx, {"name": "a"})
        with pytest.raises(MultipleResultsFound):
            OF_NAME.row(tx, {"named": "a"})


def test_a_statement_writes_the_columns_that_it_is_given_and_says_how_many_rows(database: Database) -> None:
    with database.write() as tx:
        _table(tx)
        thing = ADD.value(tx, {"name": "a", "size": 1, "at": AT})
        assert RENAME.run(tx, {"of_id": thing, "name": "b"}) == 1
        assert RENAME.run(tx, {"of_id": thing, "size": 2}) == 1
        assert RENAME.run(tx, {"of_id": thing + 1, "size": 3}) == 0
        found = OF_NAME.row(tx, {"named": "b"})
        assert (found.name, found.size, found.at) == ("b", 2, AT)


def test_a_statement_whose_text_changes_with_its_values_is_refused(tmp_path: Path) -> None:
    expanding = Ready(select(things).where(things.c.id.in_(bindparam("ids", expanding=True))))
    database = Database(f"sqlite:///{tmp_path}/gateway.db")
    with database.read() as tx, pytest.raises(NotImplementedError):
        expanding.rows(tx, {"ids": [1, 2]})


def test_a_driver_that_fails_is_unavailable_and_tells_no_value(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/gateway.db")
    with pytest.raises(Unavailable) as failed, database.read() as tx:
        OF_NAME.rows(tx, {"named": "DOE^JANE"})
    assert "no such table: things" in str(failed.value)
    assert "DOE" not in str(failed.value)
    assert isinstance(failed.value.__cause__, sqlite3.OperationalError)


def test_half_a_character_in_json_comes_back_as_it_was(each_database: Database) -> None:
    row = {"name": "a", "json": ["\ud800", "日本", 1.5]}
    with each_database.write() as tx:
        _table(tx)
        ADD.value(tx, row)
        (read,) = OF_NAME.rows(tx, {"named": "a"})
        assert read.json == row["json"]
