"""Storage commitment over the wire: pynetdicom peers ask, and are told on the same or on a new association."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.events import Event

from gateway.dicom.commitment import COMMITMENT, INSTANCE, Place
from gateway.dicom.server import DicomServer
from gateway.flow.commit import report_due
from gateway.flow.ports import Ports
from gateway.model.commitment import CommitmentState
from gateway.store import commitments

Objects = Callable[..., Dataset]
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"


def _asking(*wanted: tuple[str, str], transaction: str = "2.25.1") -> Dataset:
    dataset = Dataset()
    dataset.TransactionUID = transaction
    items = []
    for sop_class, sop_uid in wanted:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, sop_uid
        items.append(item)
    dataset.ReferencedSOPSequence = items
    return dataset


class _Machine:
    """A machine that stores, asks, and writes down what it is told."""

    def __init__(self, answer: int = 0x0000) -> None:
        self.told: list[tuple[int, Dataset]] = []
        self.answer = answer
        self.came = threading.Event()
        self.roles: list[tuple[bool | None, bool | None]] = []

    def hear(self, event: Event) -> tuple[int, None]:
        self.told.append((event.request.EventTypeID or 0, event.event_information))  # type: ignore[union-attr]
        self.roles += [(r.scu_role, r.scp_role) for r in event.assoc.requestor.role_selection.values()]
        self.came.set()
        return self.answer, None

    @contextmanager
    def calling(self, server: DicomServer, title: str = "US1") -> Iterator[Association]:
        entity = AE(title)
        entity.add_requested_context(COMMITMENT, [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
        entity.add_requested_context(SECONDARY_CAPTURE, ExplicitVRLittleEndian)
        handlers: list[Any] = [(evt.EVT_N_EVENT_REPORT, self.hear)]
        association = entity.associate("127.0.0.1", server.storage_port, evt_handlers=handlers)
        assert association.is_established
        try:
            yield association
        finally:
            association.release()

    @contextmanager
    def listening(self) -> Iterator[int]:
        """The port it listens on for reports."""
        entity = AE("US1")
        entity.add_supported_context(COMMITMENT, scu_role=False, scp_role=True)
        handlers: list[Any] = [(evt.EVT_N_EVENT_REPORT, self.hear)]
        server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
        assert server is not None
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()


def _ask(association: Association, dataset: Dataset, *, action: int = 1) -> int:
    status, _ = association.send_n_action(dataset, action, COMMITMENT, INSTANCE)
    return int(status.Status)


def _failures(dataset: Dataset) -> dict[str, int]:
    return {item.ReferencedSOPInstanceUID: item.FailureReason for item in dataset.FailedSOPSequence}


def _state(ports: Ports) -> CommitmentState:
    with ports.database.read() as tx:
        (found,) = commitments.newest(tx)
    return found.state


def test_what_is_kept_is_told_on_the_same_association(
    server: DicomServer, ports: Ports, make_object: Objects
) -> None:
    machine = _Machine()
    with machine.calling(server) as association:
        assert association.send_c_store(make_object("1.2.3.4")).Status == 0x0000
        assert _ask(association, _asking((SECONDARY_CAPTURE, "1.2.3.4"))) == 0x0000
        assert report_due(ports, server.tell) == 1
        assert machine.came.wait(10)
        assert association.send_c_store(make_object("1.2.3.5")).Status == 0x0000
    ((kind, told),) = machine.told
    assert kind == 1
    assert told.TransactionUID == "2.25.1"
    assert [item.ReferencedSOPInstanceUID for item in told.ReferencedSOPSequence] == ["1.2.3.4"]
    assert "FailedSOPSequence" not in told
    assert _state(ports) is CommitmentState.TOLD


def test_what_is_not_kept_is_told_with_its_reason(
    server: DicomServer, ports: Ports, make_object: Objects
) -> None:
    machine = _Machine()
    with machine.calling(server) as association:
        for uid in ("1.2.3.4", "1.2.3.5", "1.2.3.6"):
            assert association.send_c_store(make_object(uid)).Status == 0x0000
        with ports.database.read() as tx:
            lost = commitments.kept(tx, ("1.2.3.6",))["1.2.3.6"][1]  # type: ignore[arg-type,index]
        ports.files.discard(lost.path)
        wanted = [
            (SECONDARY_CAPTURE, "1.2.3.4"),
            ("1.2.840.10008.5.1.4.1.1.2", "1.2.3.5"),
            (SECONDARY_CAPTURE, "1.2.3.6"),
            (SECONDARY_CAPTURE, "1.2.3.7"),
        ]
        assert _ask(association, _asking(*wanted)) == 0x0000
        report_due(ports, server.tell)
        assert machine.came.wait(10)
    ((kind, told),) = machine.told
    assert kind == 2
    assert [item.ReferencedSOPInstanceUID for item in told.ReferencedSOPSequence] == ["1.2.3.4"]
    assert _failures(told) == {"1.2.3.5": 0x0119, "1.2.3.6": 0x0110, "1.2.3.7": 0x0112}


def test_a_machine_that_left_is_told_on_a_new_association(
    ports: Ports, make_object: Objects, clock: Any
) -> None:
    machine = _Machine()
    with machine.listening() as port:
        places = {"US1": Place(host="127.0.0.1", port=port)}
        server = DicomServer(
            ports, ae_title="STORESCP", bind="127.0.0.1", worklist_port=0, storage_port=0, places=places
        )
        server.start()
        try:
            with machine.calling(server) as association:
                assert association.send_c_store(make_object("1.2.3.4")).Status == 0x0000
                assert _ask(association, _asking((SECONDARY_CAPTURE, "1.2.3.4"))) == 0x0000
            association.join(10)
            report_due(ports, server.tell)
            assert machine.came.wait(10)
        finally:
            server.close()
    ((kind, told),) = machine.told
    assert (kind, told.TransactionUID) == (1, "2.25.1")
    assert machine.roles == [(False, True)]
    assert _state(ports) is CommitmentState.TOLD


def test_a_machine_that_cannot_be_reached_is_told_later_even_after_a_restart(
    ports: Ports, server: DicomServer, clock: Any
) -> None:
    machine = _Machine()
    with machine.calling(server) as association:
        assert _ask(association, _asking((SECONDARY_CAPTURE, "1.2.3.4"))) == 0x0000
    association.join(10)
    assert report_due(ports, server.tell) == 1
    assert _state(ports) is CommitmentState.PENDING
    assert report_due(ports, server.tell) == 0
    server.close()
    server.start()
    clock.advance(seconds=10)
    with machine.calling(server):
        assert report_due(ports, server.tell) == 1
        assert machine.came.wait(10)
    assert _failures(machine.told[0][1]) == {"1.2.3.4": 0x0112}


def test_another_machine_is_not_told(ports: Ports, server: DicomServer) -> None:
    machine, other = _Machine(), _Machine()
    with machine.calling(server) as association:
        assert _ask(association, _asking((SECONDARY_CAPTURE, "1.2.3.4"))) == 0x0000
    association.join(10)
    with other.calling(server, "US2"):
        report_due(ports, server.tell)
    assert other.told == []
    assert _state(ports) is CommitmentState.PENDING


def test_requests_are_served_while_a_report_is_under_way(
    ports: Ports, server: DicomServer, make_object: Objects
) -> None:
    machine = _Machine()
    with machine.calling(server) as association:
        for number in range(5):
            transaction = f"2.25.{number}"
            asked = _asking((SECONDARY_CAPTURE, f"1.2.3.{number}"), transaction=transaction)
            assert _ask(association, asked) == 0x0000
        reporting = threading.Thread(target=report_due, args=(ports, server.tell))
        reporting.start()
        for number in range(5):
            assert association.send_c_store(make_object(f"1.2.3.{number}")).Status == 0x0000
        reporting.join(30)
    assert len(machine.told) == 5


@pytest.mark.parametrize(
    ("dataset", "action", "status"),
    [
        (_asking(), 1, 0x0115),
        (_asking((SECONDARY_CAPTURE, "")), 1, 0x0115),
        (_asking((SECONDARY_CAPTURE, "1.2.3")), 2, 0x0123),
    ],
)
def test_a_request_that_cannot_be_read_is_refused_and_not_kept(
    dataset: Dataset, action: int, status: int, ports: Ports, server: DicomServer
) -> None:
    with _Machine().calling(server) as association:
        assert _ask(association, dataset, action=action) == status
    with ports.database.read() as tx:
        assert commitments.newest(tx) == ()


def test_nothing_listens_where_the_machine_should(ports: Ports) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    server = DicomServer(
        ports, ae_title="STORESCP", bind="127.0.0.1", worklist_port=0, storage_port=0,
        places={"US1": Place(host="127.0.0.1", port=port)},
    )  # fmt: skip
    server.start()
    try:
        with _Machine().calling(server) as association:
            assert _ask(association, _asking((SECONDARY_CAPTURE, "1.2.3.4"))) == 0x0000
        association.join(10)
        report_due(ports, server.tell)
    finally:
        server.close()
    assert _state(ports) is CommitmentState.PENDING
