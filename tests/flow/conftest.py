"""The verbs are tested on SQLite and on a real PostgreSQL."""

import pytest

from gateway.store.database import Database


@pytest.fixture
def database(each_database: Database) -> Database:
    return each_database
