"""Kinds of columns that mean the same on every database.

What is bound to SQLite is made by plain functions, without the detour over SQLAlchemy's own: a message binds a hundred.
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import TEXT, DateTime, Dialect, Text, TypeDecorator
from sqlalchemy.types import TypeEngine

_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


class Instant(TypeDecorator[datetime]):
    """An aware instant, kept in UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def bind_processor(self, dialect: Dialect) -> Callable[[datetime | None], Any] | None:
        """What makes the database's value; for SQLite the text that SQLAlchemy's own kind writes and reads."""
        return _sqlite_instant if dialect.name == "sqlite" else super().bind_processor(dialect)

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """UTC. Raises ValueError for a naive instant."""
        return _utc(value) if value is not None else None

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Aware UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class PlainText(TypeDecorator[str]):
    """Text any database takes: NUL and half characters become U+FFFD, in sight. The raw message keeps them."""

    impl = Text
    cache_ok = True

    def bind_processor(self, dialect: Dialect) -> Callable[[str | None], Any] | None:
        """What makes the database's value; SQLite takes the text as it is."""
        return _storable if dialect.name == "sqlite" else super().bind_processor(dialect)

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """The text without what cannot be stored."""
        return _storable(value)


class SortedText(PlainText):
    """Text in the order of its code points on every database: what begins with a word is a range of the index."""

    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """The collation "C" where the database's own would order by a language."""
        return TEXT(collation="C") if dialect.name == "postgresql" else TEXT()


def _utc(value: datetime) -> datetime:
    if value.tzinfo is None:
        raise ValueError("an instant without a zone cannot be stored")
    return value if value.tzinfo is UTC else value.astimezone(UTC)


@lru_cache(maxsize=256)  # what belongs to one message has one instant, and binds it a dozen times
def _sqlite_instant(value: datetime | None) -> str | None:
    return _utc(value).replace(tzinfo=None).isoformat(" ", "microseconds") if value is not None else None


def _storable(value: str | None) -> str | None:
    if value is None or (value.isascii() and "\0" not in value):
        return value
    return _UNSTORABLE.sub("\ufffd", value)
