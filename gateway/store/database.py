"""The database: opened, migrated, and entered one transaction at a time."""

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic_core import to_json
from sqlalchemy import URL, Connection, Engine, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, NoSuchModuleError, OperationalError

from gateway.model.errors import Invalid, Unavailable
from gateway.store import schema
from gateway.store.shared_commit import WRITES, SharedCommit

_BUSY_S = 30
_OUT_OF_REACH = (OperationalError, sqlite3.OperationalError)
# What SQLite says of a file that is no database or a damaged one; the kinds below these are faults of our statements.
_UNREADABLE = (DatabaseError, sqlite3.DatabaseError)
_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))")


class Tx:
    """An open transaction. Store functions take one; nobody else looks inside."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.is_alone = connection.dialect.name == "sqlite"
        """Whether nobody else writes until this transaction ends, as with SQLite: then there is nothing to lock."""

    @cached_property
    def driver(self) -> Any:
        """SQLite's own connection, for statements that are ready (`store/ready.py`)."""
        return self.connection.connection.driver_connection

    def lock(self, name: str) -> None:
        """Nobody else holds `name` until this transaction ends."""
        if not self.is_alone:
            self.connection.execute(_LOCK, {"name": name})


class Database:
    """A SQLite file (WAL, synchronous FULL: a commit survives a power cut) or a PostgreSQL database."""

    def __init__(self, url: str) -> None:
        """Raises Invalid when the URL cannot be understood."""
        parsed = _parsed(url)
        self.file = _file(parsed)
        """Where a SQLite database is, or will be; None for others."""
        self._engine = _engine(parsed)
        self.dialect = self._engine.dialect.name
        self._shared = SharedCommit(self._engine) if self.dialect == "sqlite" else None

    @contextmanager
    def write(self) -> Iterator[Tx]:
        """A transaction that commits durably at the end, and takes everything back on an error.

        Raises Unavailable when the database cannot be reached or written.
        """
        with _translated():
            if self._shared is not None:
                with self._shared.turn() as connection:
                    yield Tx(connection)
            else:
                with self._engine.begin() as connection:
                    yield Tx(connection)

    @property
    def shares_commits(self) -> bool:
        """Whether writers wait for each other, and one thread that works `together` is quicker than several."""
        return self._shared is not None

    @contextmanager
    def together(self) -> Iterator[None]:
        """What this thread writes inside is durable when this ends without an error; on SQLite, not before.

        Raises Unavailable, at the end too: then nothing that was written inside may be believed to be durable.
        """
        if self._shared is None:
            yield
            return
        with _translated(), self._shared.together():
            yield

    def once_durable(self, call: Callable[[], object]) -> None:
        """It is called when what this thread wrote is durable: now, or at the end of `together`."""
        if self._shared is None:
            call()
        else:
            self._shared.once_durable(call)

    @contextmanager
    def read(self) -> Iterator[Tx]:
        """A transaction that only reads. Raises Unavailable when the database cannot be reached."""
        with _translated(), self._engine.connect() as connection, connection.begin():
            yield Tx(connection)

    def is_there(self) -> bool:
        """Whether a SQLite file is there; True for others. Raises Invalid when that cannot be seen."""
        try:
            return self.file is None or self.file.exists()
        except OSError as error:
            raise Invalid(f"store.url: {self.file} cannot be looked for: {error.strerror}") from None

    def require(self) -> None:
        """The database is there. Raises Invalid for a file that is not: to ask it anything would make an empty one."""
        if self.file is not None and not self.is_there():
            raise Invalid(
                f"store.url: there is no database at {self.file.absolute()}; 'gateway db upgrade' makes one"
            )

    def upgrade(self) -> None:
        """The schema is the newest one; a SQLite file that is not there is made. Raises Invalid, Unavailable."""
        if self.file is not None:
            _make_folder(self.file.parent)
        with _translated(), self._engine.connect() as connection:
            if not schema.is_newest(connection):
                schema.upgrade(connection)
            connection.commit()

    def is_current(self) -> bool:
        """Whether the schema is the newest one. Raises Invalid when there is no database, Unavailable."""
        self.require()
        with _translated(), self._engine.connect() as connection:
            return schema.is_newest(connection)

    def backup(self, target: Path) -> None:
        """A consistent copy of a SQLite database stands at `target`, taken while the gateway runs.

        Raises Invalid for PostgreSQL, which has its own tools (pg_dump), for a target that is there already or
        cannot be written, and Unavailable. What could not be finished is removed.
        """
        if self.dialect != "sqlite":
            raise Invalid("store.url: a PostgreSQL database is backed up with pg_dump, not with this command")
        with _translated(), self._engine.connect() as connection:
            source: Any = connection.connection.driver_connection
            _claim(target)
            with ExitStack() as undo:
                undo.callback(target.unlink)
                _copy(source, target)
                undo.pop_all()

    def close(self) -> None:
        """Every connection is closed."""
        if self._shared is not None:
            self._shared.close()
        self._engine.dispose()


def _claim(target: Path) -> None:
    """An empty file stands at `target` that was not there before. Raises Invalid."""
    try:
        target.touch(exist_ok=False)
    except FileExistsError:
        raise Invalid(f"{target}: there is a file already; it is not written over") from None
    except OSError as error:
        raise Invalid(f"{target}: cannot be written: {error.strerror}") from None


def _copy(source: sqlite3.Connection, target: Path) -> None:
    """Raises Unavailable when the copy cannot be written, naming the target."""
    with closing(sqlite3.connect(target)) as destination:
        try:
            source.backup(destination)
        except sqlite3.DatabaseError as error:
            raise Unavailable(f"{target}: the copy cannot be finished: {_plain(error)}") from error


def _parsed(url: str) -> URL:
    try:
        return make_url(url)
    except ArgumentError as error:
        raise _no_address(error) from None


def _file(url: URL) -> Path | None:
    name = url.database or ""
    is_file = url.get_backend_name() == "sqlite" and name not in ("", ":memory:")
    return Path(name) if is_file and not name.startswith("file:") else None


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Invalid(f"store.url: {folder} cannot be made: {error.strerror}") from None


def _no_address(error: Exception) -> Invalid:
    return Invalid(f"store.url: not a database address this gateway can use ({type(error).__name__})")


def _engine(parsed: URL) -> Engine:
    try:
        engine = create_engine(
            parsed,
            pool_size=20,
            max_overflow=20,
            pool_pre_ping=parsed.get_backend_name() != "sqlite",
            json_serializer=_json,
            hide_parameters=True,  # they hold patient data, and errors are logged
        )
    except (ArgumentError, NoSuchModuleError, ImportError, TypeError) as error:
        raise _no_address(error) from None
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _open_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    elif engine.dialect.name != "postgresql":
        raise Invalid("store.url: only sqlite and postgresql+psycopg are supported")
    return engine


def _json(value: object) -> str:
    try:
        return to_json(value).decode()
    except ValueError:  # half a character, which Python's own writes as an escape
        return json.dumps(value)


def _open_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        "temp_store=MEMORY",  # a message's savepoint keeps forty pages: in a file, each would be written once more
        f"busy_timeout={_BUSY_S * 1000}",
    ):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin_sqlite(connection: Connection) -> None:
    # IMMEDIATE: a writer takes its place before it reads, so it never finds its reading stale at the first write.
    writes = connection.get_execution_options().get(WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (DatabaseError, sqlite3.DatabaseError) as error:
        if not isinstance(error, _OUT_OF_REACH) and type(error) not in _UNREADABLE:
            raise
        raise Unavailable(f"the database does not answer: {_plain(error)}") from error


def _plain(error: DatabaseError | sqlite3.DatabaseError) -> str:
    """The driver's own sentence, without the statement and its parameters (they hold patient data)."""
    said = error.orig if isinstance(error, DatabaseError) else error
    return str(said).splitlines()[0] if said and str(said) else type(error).__name__
