"""What happens for every message and every image stays quick however long the history: its statements use indexes."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import event, text
from sqlalchemy.engine import Engine

from gateway.flow.keep import Outcome, keep
from gateway.flow.ports import Ports
from gateway.hl7.inbound import receiver
from gateway.mapping.registry import Modules
from gateway.model.ids import Uid
from gateway.model.study import Received
from gateway.store.database import Database
from gateway.store.tables import metadata

HISTORY = 3000
COPIES = {
    "patients": {"patient_id": "'P' || n"},
    "messages": {"control_id": "'C' || n", "sha256": "'s' || n"},
    "orders": {
        "accession": "'D' || n", "filler": "'F' || n", "placer": "'L' || n", "study_uid": "'1.2.' || n",
        "patient_row": "(SELECT id FROM patients WHERE patient_id = 'P' || n)",
        "message_id": "(SELECT id FROM messages WHERE control_id = 'C' || n)",
    },
    "studies": {"study_uid": "'1.2.' || n", "order_id": "(SELECT id FROM orders WHERE accession = 'D' || n)"},
    "series": {"series_uid": "'1.3.' || n", "study_row": "(SELECT id FROM studies WHERE study_uid = '1.2.' || n)"},
    "instances": {
        "sop_uid": "'1.4.' || n", "series_row": "(SELECT id FROM series WHERE series_uid = '1.3.' || n)",
    },
    "audit": {"subject": "'order:' || n"},
}  # fmt: skip
"""The tables that grow, and what is of a row's own in each copy of their newest row."""


@pytest.fixture
def used(ports: Ports, each_database: Database) -> Ports:
    """What the verbs need, over a database of each kind."""
    return replace(ports, database=each_database)


def _fill(ports: Ports) -> None:
    """Thousands of orders of one sender with their messages and images. SQLite has no statistics, as in a clinic."""
    with ports.database.write() as tx:
        for table, own in COPIES.items():
            names = [column.name for column in metadata.tables[table].c if column.name != "id"]
            values = ", ".join(own.get(name, f"{table}.{name}") for name in names)
            numbers = f"WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t WHERE n < {HISTORY})"
            newest = f"{table}.id = (SELECT max(id) FROM {table})"
            tx.connection.execute(
                text(
                    f"INSERT INTO {table} ({', '.join(names)}) {numbers} "
                    f"SELECT {values} FROM {table}, t WHERE {newest}"
                )
            )
        if ports.database.dialect != "sqlite":
            tx.connection.execute(text("ANALYZE"))


@contextmanager
def _statements() -> Iterator[list[tuple[str, Any]]]:
    """What any engine executes meanwhile."""
    heard: list[tuple[str, Any]] = []

    def note(_conn: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, many: bool) -> None:
        if statement.startswith(("SELECT", "UPDATE", "DELETE")) and not many:
            heard.append((statement, parameters))

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield heard
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def _slow(ports: Ports, heard: list[tuple[str, Any]]) -> list[str]:
    """The lines of the database's plans that read more the longer the history is."""
    found = []
    is_sqlite = ports.database.dialect == "sqlite"
    whole = re.compile(
        r"SCAN (?!\(?(sub|const|CONST))|\((source|state|sender)=\?\)" if is_sqlite else "Seq Scan"
    )
    with ports.database.read() as tx:
        for statement, parameters in dict.fromkeys((one, repr(of)) for one, of in heard):
            values = next(of for one, of in heard if (one, repr(of)) == (statement, parameters))
            verb = "EXPLAIN QUERY PLAN " if is_sqlite else "EXPLAIN "
            lines = [str(row[-1]) for row in tx.connection.exec_driver_sql(verb + statement, values)]
            found += [f"{line} <- {statement}" for line in lines if whole.search(line)]
    return found


def _order(number: str, control: str = "NW") -> bytes:
    return (
        f"MSH|^~\\&|RIS|H|GW|RAD|20261123090000||ORM^O01^ORM_O01|N{number}{control}|P|2.5.1\r"
        f"PID|1||MRN{number}^^^GENHOSP^MR||DOE^JANE||19800214|F\r"
        f"ORC|{control}|PL{number}|FI{number}||||^^^20261123101500\r"
        f"OBR|1|PL{number}|FI{number}|76700^US ABDOMEN^C4||||||||||||||AC{number}|||||||US\r"
    ).encode()


def _image(number: int, study_uid: str) -> Received:
    return Received(
        sop_uid=Uid(f"1.9.{number}"), sop_class=Uid("1.2.840.10008.5.1.4.1.1.6.1"),
        transfer_syntax=Uid("1.2.840.10008.1.2.1"), study_uid=Uid(study_uid), series_uid=Uid("1.8.1"),
        accession="AC1", patient_id="MRN1", issuer="", patient_name="DOE^JANE", birth_date="19800214", sex="F",
        study_id="", study_date="20261123", study_time="", zone_offset="", study_description="", modality="US",
        series_number="1", series_description="", instance_number=str(number), frames=1, calling_ae="US1",
    )  # fmt: skip


def _keep(ports: Ports, number: int, study_uid: str) -> Outcome:
    written = ports.files.incoming / f"{number}.part"
    written.write_bytes(b"an image")
    return keep(ports, _image(number, study_uid), written, sha256=f"{number:064}", size=8)


def test_messages_and_images_are_taken_over_indexes(used: Ports, modules: Modules) -> None:
    ports = used
    take = receiver(ports, lambda: modules, "ris")
    assert b"MSA|AA" in take(_order("1"), "10.0.0.1")
    assert _keep(ports, 1, "1.20.3") is Outcome.NEW
    _fill(ports)
    with _statements() as heard:
        assert b"MSA|AA" in take(_order("2"), "10.0.0.1")
        assert b"MSA|AA" in take(_order("2", "XO"), "10.0.0.1")
        assert b"MSA|AA" in take(_order("2", "CA"), "10.0.0.1")
        assert _keep(ports, 2, "1.20.3") is Outcome.NEW
        assert _keep(ports, 3, "1.20.4") is Outcome.NEW
    assert len(heard) > 20
    assert _slow(ports, heard) == []
