"""The gateway's side of each simulated party, small and in this process."""

import socketserver
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import count

import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pynetdicom import AE, AllStoragePresentationContexts, evt
from pynetdicom.sop_class import ModalityWorklistInformationFind  # type: ignore[attr-defined]

from gateway.model.ids import Uid
from gateway.simulate.exams import Exam, planned

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)


@pytest.fixture
def now() -> datetime:
    return NOW


@pytest.fixture
def exam() -> Exam:
    return planned(NOW, 1)[0]


@pytest.fixture
def new_uid() -> Callable[[], Uid]:
    numbers = count(1)
    return lambda: Uid(f"2.25.{1000 + next(numbers)}")


class Listening(socketserver.ThreadingTCPServer):
    """An MLLP listener that acknowledges everything with `code`."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.code = "AA"
        self.messages: list[bytes] = []

    @property
    def port(self) -> int:
        return int(self.server_address[1])


class _Connection(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        assert isinstance(self.server, Listening)
        held = b""
        while chunk := self.request.recv(4096):
            held += chunk
            while b"\x1c\r" in held:
                message, _, held = held.partition(b"\x1c\r")
                message = message.lstrip(b"\x0b")
                self.server.messages.append(message)
                control_id = message.split(b"\r")[0].split(b"|")[9].decode()
                answer = f"MSH|^~\\&|GW||RIS||20261123||ACK|A1|P|2.5.1\rMSA|{self.server.code}|{control_id}\r"
                if self.server.code != "AA":
                    answer += "ERR||PID^1^3|101^Required field missing^HL70357|E||||PID-3: absent\r"
                self.request.sendall(b"\x0b" + answer.encode() + b"\x1c\r")


@pytest.fixture
def listener() -> Iterator[Listening]:
    with Listening() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


class Archive:
    """A DICOM server that answers `entries` to every worklist query and keeps what is stored with `status`."""

    def __init__(self) -> None:
        self.entries: list[Dataset] = []
        self.find_status = 0x0000
        self.store_status = 0x0000
        self.queries: list[Dataset] = []
        self.stored: list[Dataset] = []
        ae = AE("STORESCP")
        ae.add_supported_context(ModalityWorklistInformationFind)
        for context in AllStoragePresentationContexts:
            assert context.abstract_syntax is not None
            ae.add_supported_context(
                context.abstract_syntax,
                ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.50"],
            )
        self.server = ae.start_server(
            ("127.0.0.1", 0),
            block=False,
            evt_handlers=[(evt.EVT_C_FIND, self._found), (evt.EVT_C_STORE, self._kept)],
        )

    @property
    def port(self) -> int:
        assert self.server is not None
        assert self.server.socket is not None
        return int(self.server.socket.getsockname()[1])

    def _found(self, event: evt.Event) -> Iterator[tuple[int, Dataset | None]]:
        self.queries.append(event.identifier)
        for entry in self.entries:
            yield 0xFF00, entry
        if self.find_status:
            yield self.find_status, None

    def _kept(self, event: evt.Event) -> int:
        ds = event.dataset
        ds.file_meta = event.file_meta
        self.stored.append(ds)
        return self.store_status


@pytest.fixture
def archive() -> Iterator[Archive]:
    served = Archive()
    yield served
    assert served.server is not None
    served.server.shutdown()


@pytest.fixture
def worklist_answer() -> Dataset:
    step = Dataset()
    step.ScheduledStationAETitle = "US1"
    step.Modality = "US"
    step.ScheduledProcedureStepStartDate = "20261123"
    step.ScheduledProcedureStepStartTime = "1030"
    step.ScheduledProcedureStepID = "SPS1"
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.PatientName = "MÜLLER^JÜRGEN"
    ds.PatientID = "MRN1001"
    ds.PatientBirthDate = "19710309"
    ds.PatientSex = "M"
    ds.AccessionNumber = "US261123001"
    ds.StudyInstanceUID = "2.25.77"
    ds.RequestedProcedureID = "RP1"
    ds.RequestedProcedureDescription = "Ultrasound abdomen & kidneys"
    ds.ScheduledProcedureStepSequence = Sequence([step])
    return ds


@pytest.fixture
def free_port() -> int:
    """A port that nobody listens on."""
    with socketserver.TCPServer(("127.0.0.1", 0), socketserver.BaseRequestHandler) as server:
        return int(server.server_address[1])
