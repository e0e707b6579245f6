"""Every query leaves a receipt, and none waits for it."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from gateway.dicom.notebook import Notebook
from gateway.flow.ports import Ports
from gateway.flow.why import explain
from gateway.model.errors import Unavailable
from gateway.model.order import Order
from gateway.model.receipt import Asker, Asking, Ending, Receipt
from gateway.store import receipts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.dicom.server import DicomServer
    from tests.dicom.conftest import KeysMaker, Peer, PeerFactory

Make = Callable[..., Order]


def asked(ports: Ports, station: str = "US1") -> Asking:
    """What the station asked last, once it is written."""
    until = time.monotonic() + 5
    while time.monotonic() < until:
        with ports.database.read() as tx:
            found = receipts.last_of(tx, station)
        if found is not None:
            return found
        time.sleep(0.02)
    raise AssertionError("no receipt was written")


def test_a_query_says_who_asked_what_and_which_orders_were_sent(
    ports: Ports, peer: "Peer", keys: "KeysMaker", order_factory: Make
) -> None:
    order = order_factory()
    peer.find(keys({"Modality": "US", "ScheduledStationAETitle": "US1"}, PatientName="", PatientID=""))
    found = asked(ports)
    assert (found.ending, found.matches, found.asker.address) == (Ending.ANSWERED, 1, "127.0.0.1")
    assert found.asker.implementation_uid
    assert found.asker.implementation_version
    assert found.asker.called_ae
    assert sorted(found.keys) == [
        ("ScheduledProcedureStepSequence.Modality", "US"),
        ("ScheduledProcedureStepSequence.ScheduledStationAETitle", "US1"),
    ]
    assert explain(ports, order.id, "US1").is_listed


def test_an_order_excluded_by_a_key_without_a_column_is_noted(
    ports: Ports, peer: "Peer", keys: "KeysMaker", order_factory: Make
) -> None:
    order = order_factory(sex="F")
    peer.find(keys({}, PatientSex="M"))
    assert asked(ports).left_out == 1
    (finding,) = explain(ports, order.id, "US1").findings
    assert "PatientSex" in finding.text


def test_a_query_that_cannot_be_read_leaves_a_receipt_too(
    ports: Ports, peer: "Peer", keys: "KeysMaker"
) -> None:
    peer.find(keys({"ScheduledProcedureStepStartDate": "tomorrow"}))
    found = asked(ports)
    assert found.ending is Ending.REFUSED
    assert "ScheduledProcedureStepStartDate" in found.reason


def test_machines_are_told_apart(
    ports: Ports, called: "PeerFactory", keys: "KeysMaker", order_factory: Make
) -> None:
    order_factory(station="")
    called("US1").find(keys({}, PatientID=""))
    called("CT9").find(keys({}, PatientID=""))
    assert (asked(ports, "US1").matches, asked(ports, "CT9").matches) == (1, 1)


def test_nothing_is_lost_when_the_server_closes(
    ports: Ports, server: "DicomServer", peer: "Peer", keys: "KeysMaker"
) -> None:
    peer.find(keys({}, PatientID=""))
    server.close()
    with ports.database.read() as tx:
        assert receipts.last_of(tx, "US1") is not None


def _receipt(ports: Ports) -> Receipt:
    asker = Asker(
        calling_ae="US1", called_ae="", address="", implementation_uid="", implementation_version=""
    )
    return Receipt(asker=asker, at=ports.clock(), ending=Ending.ANSWERED, keys=(), query=None)


def test_receipts_are_written_together_and_a_store_that_fails_stops_nothing(
    ports: Ports, caplog: pytest.LogCaptureFixture
) -> None:
    batches: list[int] = []

    def write(batch: "Sequence[Receipt]") -> None:
        batches.append(len(batch))
        if len(batches) == 1:
            raise Unavailable("the database does not answer")

    notebook = Notebook(write)
    notebook.start()
    for _ in range(20):
        notebook.note(_receipt(ports))
    until = time.monotonic() + 5
    while not batches and time.monotonic() < until:
        time.sleep(0.01)
    notebook.note(_receipt(ports))
    notebook.close()
    assert sum(batches) == 21
    assert batches[-1] == 1
    assert "receipts.lost" in caplog.text


def test_taking_a_receipt_does_not_wait_for_the_store(ports: Ports) -> None:
    notebook = Notebook(lambda _: time.sleep(0.5))
    notebook.start()
    before = time.monotonic()
    for _ in range(1000):
        notebook.note(_receipt(ports))
    assert time.monotonic() - before < 0.4
    notebook.close()
