"""Statements that are built once, and on SQLite handed to the driver itself.

SQLAlchemy takes fourteen microseconds to execute a statement that SQLite answers in one, and a message needs some
twenty of them. So ours are compiled once, for each set of columns that they are given; the kinds of the columns say, as
always, how a value is stored and read. PostgreSQL, where a statement waits for a server, is asked through SQLAlchemy.
"""

from collections import namedtuple
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import Delete, Dialect, Executable, Insert, Select, Update
from sqlalchemy.exc import MultipleResultsFound
from sqlalchemy.sql.dml import ReturningInsert
from sqlalchemy.types import TypeEngine

from gateway.store.database import Tx

Values = Mapping[str, Any]
_Process = Callable[[Any], Any]


class Ready:
    """A statement. What it is given are its bound parameters and, for one that writes, the columns by name.

    A row has its columns as attributes. Every method raises what the database raises.
    """

    def __init__(self, statement: Select[Any] | Insert | ReturningInsert[Any] | Update | Delete) -> None:
        self.statement = statement
        self._forms: dict[tuple[str, ...], Form] = {}

    def rows(self, tx: Tx, values: Values) -> Sequence[Any]:
        """Every row that it finds or returns."""
        if not tx.is_alone:
            return tx.connection.execute(self.statement, values).all()
        form = self._form(tx, values)
        return form.read(tx.driver.execute(form.text, form.bound(values)).fetchall())

    def row(self, tx: Tx, values: Values) -> Any:
        """The only row, None when there is none. Raises MultipleResultsFound when there are several."""
        rows = self.rows(tx, values)
        if len(rows) > 1:
            raise MultipleResultsFound("several rows were found where one was expected")
        return rows[0] if rows else None

    def value(self, tx: Tx, values: Values) -> Any:
        """The first column of the only row, None when there is none. Raises MultipleResultsFound."""
        row = self.row(tx, values)
        return row[0] if row is not None else None

    def run(self, tx: Tx, values: Values) -> int:
        """How many rows were written."""
        if not tx.is_alone:
            return tx.connection.execute(self.statement, values).rowcount
        form = self._form(tx, values)
        count: int = tx.driver.execute(form.text, form.bound(values)).rowcount
        return count

    def run_all(self, tx: Tx, several: Sequence[Values]) -> None:
        """It is run with each of several, which all name the same columns; not at all when there are none."""
        if several and not tx.is_alone:
            tx.connection.execute(self.statement, several)
        elif several:
            form = self._form(tx, several[0])
            tx.driver.executemany(form.text, [form.bound(values) for values in several])

    def _form(self, tx: Tx, values: Values) -> "Form":
        columns = tuple(values)
        form = self._forms.get(columns)
        if form is None:
            form = self._forms[columns] = Form(self.statement, columns, tx.connection.dialect)
        return form


class Form:
    """A statement as the driver takes it, with the values in their order and the rows as they are read."""

    def __init__(self, statement: Executable, columns: Sequence[str], dialect: Dialect) -> None:
        """Raises NotImplementedError for a statement whose text changes with what it is given."""
        compiled: Any = statement.compile(dialect=dialect, column_keys=list(columns))  # type: ignore[attr-defined]
        if compiled.post_compile_params or compiled.literal_execute_params:
            raise NotImplementedError("the text of this statement changes with its values")
        self.text = str(compiled)
        own = compiled.construct_params(_check=False)
        self._own = {name: own[name] for name in compiled.positiontup if name not in columns}
        self._binds = tuple(
            (name, _process(compiled.binds[name].type, dialect, "bind_processor"))
            for name in compiled.positiontup
        )
        found = getattr(statement, "exported_columns", ())
        self._make_row = _maker_of_rows([column.key for column in found])
        reading = (
            (at, _process(one.type, dialect, "result_processor", None)) for at, one in enumerate(found)
        )
        self._reading = tuple((at, read) for at, read in reading if read is not None)

    def bound(self, values: Values) -> list[Any]:
        """The values in the order of the statement, as the database stores them."""
        given = {**self._own, **values} if self._own else values
        return [given[name] if to is None else to(given[name]) for name, to in self._binds]

    def read(self, rows: Sequence[tuple[Any, ...]]) -> list[Any]:
        """The rows with their columns as attributes."""
        if not self._reading:
            return [self._make_row(row) for row in rows]
        return [self._make_row(self._read(row)) for row in rows]

    def _read(self, row: tuple[Any, ...]) -> list[Any]:
        values = list(row)
        for at, read in self._reading:
            values[at] = read(values[at])
        return values


def _maker_of_rows(names: Sequence[str]) -> Callable[[Sequence[Any]], Any]:
    kind = namedtuple("Row", names, rename=True)  # type: ignore[misc]  # the names are those of the statement
    return kind._make


def _process(kind: TypeEngine[Any], dialect: Dialect, which: str, *more: object) -> _Process | None:
    """How the database's values of that kind are made ("bind_processor") or read; None when they stay as they are."""
    found: _Process | None = getattr(kind.dialect_impl(dialect), which)(dialect, *more)
    return found
