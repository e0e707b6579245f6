"""Every hot worklist query runs over an index, however long the history is."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import event, text

from gateway.flow.ports import Ports
from gateway.model.lifecycle import State
from gateway.model.order import Order
from gateway.model.worklist import Match, Range, WorklistQuery
from gateway.store import worklist
from gateway.store.database import Database, Tx
from gateway.store.tables import metadata

Make = Callable[..., Order]
FINISHED = 10_000

QUERIES = {
    "everything": WorklistQuery(),
    "day and modality": WorklistQuery(
        date=Range(first="20261123", last="20261123"), modality=Match(values=("US",)), station=Match(values=("US1",))
    ),
    "days and hours": WorklistQuery(
        date=Range(first="20261123", last="20261124"), time=Range(first="230000", last="010000")
    ),
    "accession": WorklistQuery(accession=Match(values=("A1",))),
    "patient": WorklistQuery(patient_id=Match(values=("MRN1",))),
    "name": WorklistQuery(patient_name=Match(values=("doe*",), is_wild=True, ignore_case=True)),
    "name, more or less": WorklistQuery(patient_name=Match(values=("doe",)), is_fuzzy=True),
    "list of UID": WorklistQuery(study_uid=Match(values=("2.25.1001", "2.25.1002"))),
}  # fmt: skip


@pytest.fixture
def history(ports: Ports, order_factory: Make) -> None:
    """Two orders on the list and many that are done, each of a patient of its own."""
    order_factory(accession="A1")
    order_factory(accession="A2", patient_id="MRN2", name="Roe^Max")
    order_factory(
        accession="DONE", patient_id="OLD", state=State.COMPLETED, start="2026-11-23T10:00:00+00:00"
    )
    with ports.database.write() as tx:
        _copy(tx, "patients", "patient_id = 'OLD'", {"patient_id": "'P' || n"})
        own = {
            "accession": "'D' || n", "study_uid": "'1.2.' || n", "step_id": "'S' || n",
            "patient_row": "(SELECT id FROM patients WHERE patient_id = 'P' || n AND patient_id <> '')",
        }  # fmt: skip
        _copy(tx, "orders", "accession = 'DONE'", own)
        tx.connection.execute(text("ANALYZE"))


def _copy(tx: Tx, table: str, condition: str, own: dict[str, str]) -> None:
    names = [column.name for column in metadata.tables[table].c if column.name != "id"]
    values = ", ".join(own.get(name, f"{table}.{name}") for name in names)
    numbers = f"WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t WHERE n < {FINISHED})"
    columns = ", ".join(names)
    statement = (
        f"INSERT INTO {table} ({columns}) {numbers} SELECT {values} FROM {table}, t WHERE {table}.{condition}"
    )
    tx.connection.execute(text(statement))


def _plan(tx: Tx, database: Database, query: WorklistQuery) -> list[str]:
    """The lines of the database's own plan for each statement that the search makes."""
    found: list[str] = []
    connection: Any = tx.connection
    statements: list[tuple[str, Any]] = []

    def note(_conn: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, _many: bool) -> None:
        statements.append((statement, parameters))

    event.listen(connection, "before_cursor_execute", note)
    list(worklist.find(tx, query, frozenset({State.SENT})))
    event.remove(connection, "before_cursor_execute", note)
    explain = "EXPLAIN QUERY PLAN " if database.dialect == "sqlite" else "EXPLAIN "
    for statement, parameters in statements:
        rows = connection.exec_driver_sql(explain + statement, parameters).all()
        found += [str(row[-1]) for row in rows]
    return found


@pytest.mark.usefixtures("history")
def test_no_worklist_query_reads_a_whole_table(ports: Ports) -> None:
    for name, query in QUERIES.items():
        with ports.database.read() as tx:
            lines = _plan(tx, ports.database, query)
        whole = [line for line in lines if line.strip().startswith("SCAN ") or "Seq Scan" in line]
        assert lines, name
        assert whole == [], (name, lines)
