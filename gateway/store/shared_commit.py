"""One durable commit for all who write at the same moment.

SQLite has one writer, and a commit waits for the disk as long as the statements before it take. So writers take turns
on one connection, each inside a savepoint of its own; whoever finds nobody waiting commits for all of them, and nobody
returns before that commit is durable. A writer that fails takes back its own savepoint and nothing else; a commit that
fails fails every writer that leaned on it.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Engine

WRITES = "gateway_writes"
"""The execution option of a connection that is going to write."""

MOST = 32
"""So many writers share a commit at the most: the first must not wait for ever."""


@dataclass(slots=True)
class _Group:
    """Those who share a commit."""

    size: int = 0
    is_over: threading.Event = field(default_factory=threading.Event)
    error: BaseException | None = None


@contextmanager
def _savepoint(connection: Connection) -> Iterator[None]:
    """What is done here is taken back on an error. SQLAlchemy's own compiles its statement anew each time."""
    driver: Any = connection.connection.driver_connection
    driver.execute("SAVEPOINT turn")
    try:
        yield
    except BaseException:
        driver.execute("ROLLBACK TO turn")
        driver.execute("RELEASE turn")
        raise
    driver.execute("RELEASE turn")


class SharedCommit:
    """The one writing connection of a SQLite database."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._turn = threading.Lock()
        self._counting = threading.Lock()
        self._waiting = 0  # writers that want their turn
        self._connection: Connection | None = None
        self._group = _Group()

    @contextmanager
    def turn(self) -> Iterator[Connection]:
        """The connection, inside a transaction that is durable when this ends without an error.

        An error takes back what was done in this turn. Raises what the database raises.
        """
        with self._counting:
            self._waiting += 1
        with self._turn:
            with self._counting:
                self._waiting -= 1
            group = self._group
            try:
                connection = self._begun(group)
                with _savepoint(connection):
                    yield connection
            finally:
                self._go_on(group)
        group.is_over.wait()
        if group.error is not None:
            raise group.error

    def close(self) -> None:
        """The connection is closed."""
        with self._turn:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _begun(self, group: _Group) -> Connection:
        if self._connection is None:
            self._connection = self._engine.connect().execution_options(**{WRITES: True})
        if not group.size:
            self._connection.begin()
        group.size += 1
        return self._connection

    def _go_on(self, group: _Group) -> None:
        """The next in turn joins the group, or the group's work is made durable."""
        with self._counting:
            is_last = not self._waiting or group.size >= MOST
        if is_last:
            self._group = _Group()
            self._commit(group)

    def _commit(self, group: _Group) -> None:
        connection = self._connection
        try:
            transaction = connection.get_transaction() if connection is not None else None
            if transaction is not None:
                transaction.commit()
        except BaseException as error:  # whatever it was, the others must not believe that they are durable
            group.error = error
            if connection is not None:
                connection.invalidate()
                connection.close()
                self._connection = None
        finally:
            group.is_over.set()
