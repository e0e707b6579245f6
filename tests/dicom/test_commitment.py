"""Storage commitment over the wire: pynetdicom peers ask, and are told on the same or on a new association."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_STORE, N_EVENT_REPORT
from pynetdicom.dsutils import decode, encode
from pynetdicom.events import Event

from gateway.dicom.commitment import COMMITMENT, INSTANCE, Place
from gateway.dicom.machines import Machines
from gateway.dicom.server import DicomServer
from gateway.dicom.worklist import Rules
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


@pytest.mark.parametrize(("awaited", "where"), [("new", "there"), ("same", "here"), ("any", "here")])
def test_a_machine_is_told_where_its_profile_says_it_listens(
    ports: Ports, make_object: Objects, tmp_path: Path, awaited: str, where: str
) -> None:
    folder = tmp_path / "machines"
    folder.mkdir()
    (folder / "ours.yaml").write_text(
        f"profile: ours\nabout: a machine of the test\ndetect:\n  calling_ae: [US1]\n"
        f"expect:\n  # Source: this test.\n  commitment_association: {awaited}\n",
        encoding="utf-8",
    )
    here, there = _Machine(), _Machine()
    with there.listening() as port:
        server = DicomServer(
            ports,
            ae_title="STORESCP",
            bind="127.0.0.1",
            worklist_port=0,
            storage_port=0,
            places={"US1": Place(host="127.0.0.1", port=port)},
            rules=Rules(machines=Machines(folder, {})),
        )
        server.start()
        try:
            with here.calling(server) as association:
                assert association.send_c_store(make_object("1.2.3.4")).Status == 0x0000
                assert _ask(association, _asking((SECONDARY_CAPTURE, "1.2.3.4"))) == 0x0000
                report_due(ports, server.tell)
                told = {"here": here, "there": there}[where]
                assert told.came.wait(10)
        finally:
            server.close()
    assert len(here.told) + len(there.told) == 1
    assert _state(ports) is CommitmentState.TOLD


def test_a_machine_that_listens_on_its_own_association_alone_waits_for_it(
    ports: Ports, make_object: Objects, tmp_path: Path
) -> None:
    folder = tmp_path / "machines"
    folder.mkdir()
    (folder / "ours.yaml").write_text(
        "profile: ours\nabout: a machine of the test\ndetect:\n  calling_ae: [US1]\n"
        "expect:\n  # Source: this test.\n  commitment_association: same\n",
        encoding="utf-8",
    )
    machine = _Machine()
    with machine.listening() as port:
        server = DicomServer(
            ports,
            ae_title="STORESCP",
            bind="127.0.0.1",
            worklist_port=0,
            storage_port=0,
            places={"US1": Place(host="127.0.0.1", port=port)},
            rules=Rules(machines=Machines(folder, {})),
        )
        server.start()
        try:
            with machine.calling(server) as association:
                assert _ask(association, _asking((SECONDARY_CAPTURE, "1.2.3.4"))) == 0x0000
            association.join(10)
            report_due(ports, server.tell)
        finally:
            server.close()
    assert machine.told == []
    assert _state(ports) is CommitmentState.PENDING


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


def _store(association: Association, dataset: Dataset, machine: _Machine) -> int:
    """The status of a C-STORE, reports answered until it comes."""
    request = C_STORE()
    request.MessageID, request.Priority = 7, 2
    request.AffectedSOPClassUID, request.AffectedSOPInstanceUID = dataset.SOPClassUID, dataset.SOPInstanceUID
    (context,) = (one for one in association.accepted_contexts if one.abstract_syntax == dataset.SOPClassUID)
    syntax = UID(context.transfer_syntax[0])
    request.DataSet = BytesIO(encode(dataset, syntax.is_implicit_VR, syntax.is_little_endian) or b"")
    association.dimse.send_msg(request, context.context_id or 0)
    answer = None
    while not isinstance(answer, C_STORE):
        answer = _next(association, machine)
    return int(answer.Status or 0)


def _next(association: Association, machine: _Machine) -> Any:
    """The next message; None where it was a report, which is answered."""
    context, message = association.dimse.get_msg(block=True)
    assert message is not None
    if not isinstance(message, N_EVENT_REPORT):
        return message
    syntax = UID(association._accepted_cx[context or 0].transfer_syntax[0])
    assert message.EventInformation is not None
    told = decode(message.EventInformation, syntax.is_implicit_VR, syntax.is_little_endian)
    machine.told.append((message.EventTypeID or 0, told))
    heard = N_EVENT_REPORT()
    heard.MessageIDBeingRespondedTo, heard.Status = message.MessageID, 0
    heard.AffectedSOPClassUID = message.AffectedSOPClassUID
    heard.AffectedSOPInstanceUID = message.AffectedSOPInstanceUID
    association.dimse.send_msg(heard, context or 0)
    return None


def test_requests_are_served_while_a_report_is_under_way(
    ports: Ports, server: DicomServer, make_object: Objects
) -> None:
    machine = _Machine()
    with machine.calling(server) as association:
        for number in range(5):
            transaction = f"2.25.{number}"
            asked = _asking((SECONDARY_CAPTURE, f"1.2.3.{number}"), transaction=transaction)
            assert _ask(association, asked) == 0x0000
        # Below the library's own calls: those take a report that comes while they wait for the answer.
        association._reactor_checkpoint.clear()
        time.sleep(0.1)  # its own reader stands still now
        reporting = threading.Thread(target=report_due, args=(ports, server.tell))
        reporting.start()
        for number in range(5):
            assert _store(association, make_object(f"1.2.3.{number}"), machine) == 0x0000
        while len(machine.told) < 5 and reporting.is_alive():
            _next(association, machine)
        association._reactor_checkpoint.set()
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
