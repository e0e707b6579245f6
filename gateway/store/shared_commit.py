"""One durable commit for all who write at the same moment.

SQLite has one writer, and a commit waits for the disk as long as the statements before it take. So writers take turns
on one connection, each inside a savepoint of its own; whoever finds nobody waiting commits for all of them, and nobody
returns before that commit is durable. A writer that fails takes back its own savepoint and nothing else; a commit that
fails fails every writer that leaned on it.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Engine

WRITES = "gateway_writes"
"""The execution option of a connection that is going to write."""

MOST = 32
"""So many writers share a commit at the most: the first must not wait for ever."""


@dataclass(slots=True, eq=False)
class _Group:
    """Those who share a commit."""

    size: int = 0
    is_awaited: bool = False  # somebody waits for its commit already
    is_over: threading.Event = field(default_factory=threading.Event)
    error: BaseException | None = None


@contextmanager
def _savepoint(connection: Connection, group: _Group) -> Iterator[None]:
    """What is done here is taken back on an error. SQLAlchemy's own compiles its statement anew each time.

    Where SQLite took back the whole transaction, as on a full disk, the group has failed.
    Source: sqlite.org/lang_transaction.html, response to errors within a transaction.
    """
    driver: Any = connection.connection.driver_connection
    driver.execute("SAVEPOINT turn")
    try:
        yield
        driver.execute("RELEASE turn")
    except BaseException as error:
        if driver.in_transaction:
            driver.execute("ROLLBACK TO turn")
            driver.execute("RELEASE turn")
        else:
            group.error = error
        raise


class SharedCommit:
    """The one writing connection of a SQLite database."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._turn = threading.Lock()
        self._counting = threading.Lock()
        self._waiting = 0  # writers that want their turn
        self._connection: Connection | None = None
        self._group = _Group()
        self._own = threading.local()  # what this thread does together

    @contextmanager
    def together(self) -> Iterator[None]:
        """The turns that this thread takes inside are durable when this ends without an error, not before.

        Raises what the database raises, at the end too: then none of them may be believed to be durable.
        """
        leaned_on = self._own.leaned_on = list[_Group]()
        calls = self._own.calls = list[Callable[[], object]]()
        try:
            yield
        finally:
            del self._own.leaned_on
            self._finish(leaned_on)
        for call in calls:
            call()

    def once_durable(self, call: Callable[[], object]) -> None:
        """It is called at the end of what this thread does together, at once where it does nothing together."""
        if hasattr(self._own, "leaned_on"):
            self._own.calls.append(call)
        else:
            call()

    @contextmanager
    def turn(self) -> Iterator[Connection]:
        """The connection, inside a transaction that is durable when this ends without an error; see `together`.

        An error takes back what was done in this turn. Raises what the database raises.
        """
        leaned_on: list[_Group] | None = getattr(self._own, "leaned_on", None)
        with self._counting:
            self._waiting += 1
        with self._turn:
            with self._counting:
                self._waiting -= 1
            group = self._group
            if leaned_on is not None and group not in leaned_on:
                leaned_on.append(group)
            try:
                connection = self._begun(group)
                with _savepoint(connection, group):
                    yield connection
            finally:
                self._go_on(group, waits=leaned_on is None)
        if leaned_on is None:
            _wait(group)

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

    def _go_on(self, group: _Group, *, waits: bool) -> None:
        """The next in turn joins the group, or the group's work is made durable for those who wait for it."""
        group.is_awaited = group.is_awaited or waits
        with self._counting:
            is_last = (group.is_awaited and not self._waiting) or group.size >= MOST
        if is_last or group.error is not None:
            self._commit(group)

    def _finish(self, leaned_on: list[_Group]) -> None:
        """The groups are durable; of several, only the newest may still be open."""
        if leaned_on and not leaned_on[-1].is_over.is_set():
            with self._turn:
                if self._group is leaned_on[-1]:
                    self._commit(self._group)
        for group in leaned_on:
            _wait(group)

    def _commit(self, group: _Group) -> None:
        self._group = _Group()
        connection = self._connection
        try:
            transaction = connection.get_transaction() if connection is not None else None
            if transaction is not None and group.error is None:
                transaction.commit()
        except BaseException as error:  # whatever it was, the others must not believe that they are durable
            group.error = error
        finally:
            if group.error is not None and connection is not None:
                connection.invalidate()
                connection.close()
                self._connection = None
            group.is_over.set()


def _wait(group: _Group) -> None:
    """The group's commit is over. Raises what made it fail."""
    group.is_over.wait()
    if group.error is not None:
        raise group.error
