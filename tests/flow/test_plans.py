"""What happens for every message and every image stays quick however long the history: its statements use indexes."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import event, text
from sqlalchemy.engine import Engine

from gateway.fhir.auth import Source
from gateway.fhir.holding import known_to
from gateway.fhir.interpret import understand
from gateway.flow import perform
from gateway.flow.commit import report_due, request_commitment
from gateway.flow.complete import complete_quiet
from gateway.flow.deliver import deliver_due
from gateway.flow.examine import examine_pending
from gateway.flow.expire import expire_stale
from gateway.flow.keep import Outcome, keep
from gateway.flow.ports import Ports
from gateway.flow.receive import receive
from gateway.flow.settle import settle_received
from gateway.hl7.inbound import receiver
from gateway.mapping.registry import Modules
from gateway.model.commitment import Reference, Request
from gateway.model.delivery import Outgoing
from gateway.model.ids import Uid
from gateway.model.message import Inbound, MessageState, Protocol
from gateway.model.performed import Begun, Letter, PerformedState, Scheduled, Told
from gateway.model.study import Received
from gateway.store import outbox
from gateway.store.database import Database
from gateway.store.ready import Form, Values
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
    "deliveries": {"key": "'1.2.' || n"},
    "commitments": {"transaction_uid": "'1.5.' || n"},
    "performed": {"sop_uid": "'1.6.' || n"},
    "performed_steps": {
        "performed_row": "(SELECT id FROM performed WHERE sop_uid = '1.6.' || n)", "study_uid": "'1.2.' || n",
        "order_id": "(SELECT id FROM orders WHERE accession = 'D' || n)",
    },
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
    """What any engine executes meanwhile, and what is handed to SQLite itself."""
    heard: list[tuple[str, Any]] = []

    def note(_conn: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, many: bool) -> None:
        if statement.startswith(("SELECT", "UPDATE", "DELETE")) and not many:
            heard.append((statement, parameters))

    def bound(form: Any, values: Values) -> list[Any]:
        parameters = bind(form, values)
        note(None, None, form.text, tuple(parameters), None, False)
        return parameters

    bind = Form.bound
    event.listen(Engine, "before_cursor_execute", note)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Form, "bound", bound)
            yield heard
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def _slow(ports: Ports, heard: list[tuple[str, Any]]) -> list[str]:
    """The lines of the database's plans that read more the longer the history is."""
    found = []
    is_sqlite = ports.database.dialect == "sqlite"
    tables = "|".join(COPIES)
    # Of orders, "source=?" alone is every order of the sender.
    # The index of the messages that wait holds no others.
    sqlite = rf"SCAN ({tables})\b|(?<!ix_messages_waiting )\((source|sender)=\?\)"
    whole = re.compile(sqlite if is_sqlite else rf"Seq Scan on ({tables})\b")
    with ports.database.read() as tx:
        for statement, parameters in dict.fromkeys((one, repr(of)) for one, of in heard):
            values = next(of for one, of in heard if (one, repr(of)) == (statement, parameters))
            verb = "EXPLAIN QUERY PLAN " if is_sqlite else "EXPLAIN "
            lines = [str(row[-1]) for row in tx.connection.exec_driver_sql(verb + statement, values)]
            found += [f"{line} <- {statement}" for line in lines if whole.search(line)]
    return found


def _finish(ports: Ports) -> None:
    """All that is in the store is done with."""
    with ports.database.write() as tx:
        for statement in (
            "UPDATE orders SET state = 'completed'",
            "UPDATE studies SET state = 'complete', completed_at = last_at",
            "UPDATE instances SET picture = 'none'",
            "UPDATE deliveries SET state = 'delivered'",
            "UPDATE commitments SET state = 'told'",
        ):
            tx.connection.execute(text(statement))


def _exam(ports: Ports) -> None:
    """An exam that the machine tells of, its commitment, and news of it."""
    step = Scheduled(study_uid=Uid("1.20.3"), accession="AC1", step_id="")
    begun = Begun(
        sop_uid=Uid("1.6.0"), calling_ae="US1", station="US1", modality="US", step_id="P", description="", issuer="",
        patient_id="MRN1", patient_name="DOE^JANE", birth_date="", sex="", steps=(step,),
    )  # fmt: skip
    told = Told(state=PerformedState.IN_PROGRESS)
    perform.begin(
        ports, begun, told, Letter(verb="N-CREATE", transfer_syntax="1.2.840.10008.1.2", content=b"")
    )
    wanted = (Reference(sop_class=Uid("1.2.840.10008.5.1.4.1.1.6.1"), sop_uid=Uid("1.9.1")),)
    request_commitment(
        ports, Request(peer="US1", address="127.0.0.1", transaction_uid=Uid("1.5.0"), references=wanted)
    )
    with ports.database.write() as tx:
        news = Outgoing(destination="ehr", kind="ImagingStudy", key="1.20.3", order_id=None, payload=b"{}")
        outbox.add(tx, news, ports.clock())


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


def _push(ports: Ports, modules: Modules, number: str, status: str = "active") -> MessageState:
    kind = {"system": "http://terminology.hl7.org/CodeSystem/v2-0203"}
    patient = {
        "resourceType": "Patient", "id": "p", "name": [{"family": "Doe"}],
        "identifier": [{"type": {"coding": [{**kind, "code": "MR"}]}, "value": f"MRN{number}"}],
    }  # fmt: skip
    order = {
        "resourceType": "ServiceRequest", "id": number, "status": status, "intent": "order", "contained": [patient],
        "subject": {"reference": "#p"}, "code": {"text": "Ultrasound"}, "occurrenceDateTime": "2026-11-23T10:15:00Z",
        "orderDetail": [{"coding": [{"system": "http://dicom.nema.org/resources/ontology/DCM", "code": "US"}]}],
        "identifier": [{"type": {"coding": [{**kind, "code": "ACSN"}]}, "value": f"AC{number}"}],
    }  # fmt: skip
    raw, at = json.dumps(order).encode(), ports.clock()
    known = known_to(ports.database, "ris")
    found = understand(raw, Source(name="ris"), modules, known=known, at=at).interpretation
    inbound = Inbound(protocol=Protocol.FHIR, source="ris", peer="", raw=raw)
    return receive(ports, inbound, lambda _: found, lambda _: b"").state


def test_fhir_orders_are_taken_over_indexes(used: Ports, modules: Modules) -> None:
    take = receiver(used, lambda: modules, "ris")
    assert b"MSA|AA" in take(_order("1"), "10.0.0.1")
    assert _keep(used, 1, "1.20.3") is Outcome.NEW
    _fill(used)
    with _statements() as heard:
        assert _push(used, modules, "7") is MessageState.MAPPED
        assert _push(used, modules, "7", "on-hold") is MessageState.MAPPED
        assert _push(used, modules, "7", "revoked") is MessageState.MAPPED
    assert len(heard) > 20
    assert _slow(used, heard) == []


def test_what_workers_ask_every_second_is_asked_over_indexes(used: Ports, modules: Modules) -> None:
    ports = used
    take = receiver(ports, lambda: modules, "ris")
    assert b"MSA|AA" in take(_order("1"), "10.0.0.1")
    assert _keep(ports, 1, "1.20.3") is Outcome.NEW
    _exam(ports)
    _finish(ports)
    _fill(ports)
    jobs: dict[str, Callable[[], object]] = {
        "examine": lambda: examine_pending(ports, _nothing),
        "complete": lambda: complete_quiet(ports, lambda study, orders: ()),
        "settle": lambda: settle_received(ports, _nothing),
        "expire": lambda: expire_stale(ports),
        "deliver": lambda: deliver_due(ports, _nothing, to="ehr"),
        "commit": lambda: report_due(ports, _nothing),
    }
    for name, job in jobs.items():
        with _statements() as heard:
            job()
        assert heard, name
        assert _slow(ports, heard) == [], name


def _nothing(*_: object) -> Any:
    raise AssertionError("there is nothing to do")
