"""A running listener, and peers that talk to it: pynetdicom in the test's own process, DCMTK's clients beside it."""

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import config
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    UID,
    AllTransferSyntaxes,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    SecondaryCaptureImageStorage,
)
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.dsutils import encode

from gateway.dicom.answering import MODALITY_WORKLIST
from gateway.dicom.elements import syntax_of
from gateway.dicom.keys import Asked, read_keys
from gateway.dicom.negotiation import VERIFICATION
from gateway.dicom.server import DicomServer
from gateway.flow.ports import Ports

BOTH: list[str | UID] = [ExplicitVRLittleEndian, ImplicitVRLittleEndian]


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A machine that knows the gateway's ports."""

    server: DicomServer
    ae_title: str = "US1"

    @contextmanager
    def associated(
        self, *contexts: tuple[str, list[str | UID]], port: int | None = None
    ) -> Iterator[Association]:
        """An association with the gateway; released at the end if it still stands."""
        ae = AE(self.ae_title)
        for abstract, syntaxes in contexts or ((VERIFICATION, BOTH), (MODALITY_WORKLIST, BOTH)):
            ae.add_requested_context(abstract, syntaxes)
        association = ae.associate("127.0.0.1", port or self.server.worklist_port)
        assert association.is_established
        try:
            yield association
        finally:
            if association.is_established:
                association.release()

    def find(
        self, keys: Dataset, *, syntaxes: list[str | UID] = BOTH, port: int | None = None
    ) -> tuple[int, list[Dataset]]:
        """The final status of a worklist query, and its matches."""
        with self.associated((MODALITY_WORKLIST, syntaxes), port=port) as association:
            replies = list(association.send_c_find(keys, MODALITY_WORKLIST))
        matches = [match for _, match in replies[:-1] if match is not None]
        return replies[-1][0].Status, matches

    def store(self, dataset: Dataset, *, port: int | None = None) -> int:
        """The status of a C-STORE of the data set, in the transfer syntax that its file meta names."""
        syntax = dataset.file_meta.TransferSyntaxUID
        with self.associated(
            (dataset.SOPClassUID, [syntax]), port=port or self.server.storage_port
        ) as association:
            return int(association.send_c_store(dataset).Status)

    def store_bytes(
        self, encoded: bytes, *, sop_class: str, sop_uid: str, syntax: str = ExplicitVRLittleEndian
    ) -> Dataset:
        """The status data set of a C-STORE whose data set is these very bytes."""
        from pynetdicom.dimse_primitives import C_STORE

        with self.associated((sop_class, [syntax]), port=self.server.storage_port) as association:
            request = C_STORE()
            request.MessageID = 1
            request.AffectedSOPClassUID = sop_class
            request.AffectedSOPInstanceUID = sop_uid
            request.Priority = 0x0002
            request.DataSet = BytesIO(encoded)
            association._reactor_checkpoint.clear()  # the association's own thread must not take the answer
            while not association._is_paused:
                time.sleep(0.001)
            association.dimse.send_msg(request, 1)
            _, response = association.dimse.get_msg(block=True)
            association._reactor_checkpoint.set()
            status = Dataset()
            if response is not None:
                status.Status = response.Status
                status.ErrorComment = getattr(response, "ErrorComment", None) or ""
            return status


PeerFactory = Callable[[str], Peer]


@pytest.fixture
def server(ports: Ports) -> Iterator[DicomServer]:
    server = DicomServer(ports, ae_title="STORESCP", bind="127.0.0.1", worklist_port=0, storage_port=0)
    server.start()
    yield server
    server.close()


@pytest.fixture
def peer(server: DicomServer) -> Peer:
    return Peer(server=server)


@pytest.fixture
def called(server: DicomServer) -> PeerFactory:
    return lambda ae_title: Peer(server=server, ae_title=ae_title)


def worklist_keys(step: dict[str, object] | None = None, **keys: object) -> Dataset:
    """An identifier; `step` are the keys of the Scheduled Procedure Step Sequence's item, None leaves it out."""
    dataset = _dataset(keys)
    if step is not None:
        dataset.ScheduledProcedureStepSequence = [_dataset(step)]
    return dataset


def _dataset(values: dict[str, object]) -> Dataset:
    """Machines send what they like: nothing is validated."""
    dataset = Dataset()
    for keyword, value in values.items():
        tag = tag_for_keyword(keyword)
        assert tag is not None
        dataset.add(DataElement(tag, dictionary_VR(tag), value, validation_mode=config.IGNORE))
    return dataset


KeysMaker = Callable[..., Dataset]


@pytest.fixture(scope="session")
def keys() -> KeysMaker:
    return worklist_keys


Asker = Callable[[Dataset], Asked]


@pytest.fixture(scope="session", name="asked")
def asked_fixture() -> Asker:
    """What the gateway reads out of an identifier that was encoded as Implicit VR Little Endian."""

    def read(dataset: Dataset) -> Asked:
        encoded = encode(dataset, True, True)
        assert encoded is not None
        return read_keys(encoded, syntax_of(ImplicitVRLittleEndian))

    return read


def small_object(sop_uid: str = "1.2.3.4", **more: object) -> Dataset:
    """A little secondary capture with a pixel or two."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = SecondaryCaptureImageStorage
    dataset.SOPInstanceUID = sop_uid
    dataset.StudyInstanceUID = "1.2.3"
    dataset.SeriesInstanceUID = "1.2.3.1"
    dataset.Modality = "US"
    dataset.PatientID = "MRN1"
    dataset.PatientName = "Doe^Jane"
    for keyword, value in more.items():
        setattr(dataset, keyword, value)
    dataset.add_new(0x7FE00010, "OB", bytes(range(16)))
    return dataset


ObjectMaker = Callable[..., Dataset]


@pytest.fixture(scope="session")
def make_object() -> ObjectMaker:
    return small_object


@pytest.fixture(scope="session")
def all_syntaxes() -> list[str]:
    return [str(uid) for uid in AllTransferSyntaxes]


Tool = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def dcmtk() -> Tool:
    """Runs a DCMTK client and returns what it did; skips where there is none."""
    if shutil.which("findscu") is None:
        pytest.skip("DCMTK's clients are not installed")

    def run(name: str, *arguments: str | Path) -> "subprocess.CompletedProcess[str]":
        command = [name, *map(str, arguments)]
        return subprocess.run(
            command, check=False, capture_output=True, text=True, errors="replace", timeout=60
        )

    return run
