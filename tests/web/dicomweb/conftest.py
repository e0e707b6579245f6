"""Objects that went through the storage room's own steps, the application that serves them, and who asks it."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import httpx
import pytest
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from starlette.applications import Starlette

from gateway.dicom.header import read_object
from gateway.dicom.incoming import IncomingObject, file_header
from gateway.flow.grant import grant
from gateway.flow.keep import Outcome, keep
from gateway.flow.ports import Ports
from gateway.model.order import Order
from gateway.model.token import Scope
from gateway.simulate.objects import Entry, Session, images
from gateway.store import held_objects
from gateway.store.held_objects import HeldObject
from gateway.web.dicomweb.routes import routes


@dataclass(frozen=True, slots=True)
class Shelf:
    """Keeps objects as the storage service does, and knows the bytes it was given."""

    ports: Ports

    def keep(self, dataset: Dataset) -> bytes:
        """The whole Part 10 file of an object that is stored now."""
        syntax = dataset.file_meta.TransferSyntaxUID
        encoded = DicomBytesIO()
        encoded.is_little_endian, encoded.is_implicit_VR = syntax.is_little_endian, syntax.is_implicit_VR
        if syntax.is_encapsulated and "PixelData" in dataset:
            dataset["PixelData"].is_undefined_length = True  # Source: DICOM PS3.5 A.4
        write_dataset(encoded, dataset)
        header = file_header(
            sop_class=dataset.SOPClassUID,
            sop_uid=dataset.SOPInstanceUID,
            transfer_syntax=syntax,
            calling_ae="US1",
        )
        return self.keep_bytes(header, encoded.getvalue(), syntax)

    def keep_bytes(self, header: bytes, encoded: bytes, syntax: str) -> bytes:
        """As `keep`, of a data set that is encoded."""
        incoming = IncomingObject(self.ports.files.incoming, header)
        incoming.write(encoded)
        incoming.finish()
        received = read_object(incoming, syntax, "US1")
        size = incoming.offset + incoming.size
        outcome = keep(self.ports, received, incoming.path, sha256=incoming.sha256, size=size)
        assert outcome is Outcome.NEW
        return header + encoded

    def examine(self, order: Order | None = None, **entry: str) -> tuple[Dataset, ...]:
        """The objects of one ultrasound examination: a still, a grey one in RLE, a loop in JPEG. Not yet stored."""
        return images(self.session(order, **entry))

    def session(self, order: Order | None = None, **entry: str) -> Session:
        """An examination of the order's patient, or of the entry's."""
        known = (
            {
                "patient_name": order.patient.name,
                "patient_id": order.patient.patient_id,
                "birth_date": order.patient.birth_date,
                "sex": order.patient.sex,
                "accession": order.accession,
                "study_uid": order.study_uid,
            }
            if order
            else {}
        )
        told = Entry(**{**known, "description": "Abdomen", "station": "US1", **entry})
        return Session(
            entry=told,
            now=datetime(2026, 11, 23, 10, 30, tzinfo=UTC),
            new_uid=self.ports.new_uid,
            study_uid=told.study_uid or self.ports.new_uid(),
        )

    def held(self, study_uid: str) -> tuple[HeldObject, ...]:
        """What the store says of the study."""
        with self.ports.database.read() as tx:
            return held_objects.held(tx, study_uid, with_doubtful=True)


@pytest.fixture
def shelf(ports: Ports) -> Shelf:
    return Shelf(ports)


@pytest.fixture
def web(make_app: Callable[..., Starlette], ports: Ports) -> Starlette:
    return make_app(more=routes(ports))


@pytest.fixture
def secret(ports: Ports) -> str:
    return grant(ports, "viewer", Scope.DICOMWEB, actor="test")


@pytest.fixture
def client(web: Starlette, secret: str) -> httpx.AsyncClient:
    """A program with a token."""
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(web),
        base_url="http://gateway.test",
        headers={"Authorization": f"Bearer {secret}"},
    )


@pytest.fixture
def person(web: Starlette, token: Callable[..., str]) -> Callable[..., httpx.AsyncClient]:
    """Somebody who is logged in with a role, or nobody."""

    def make(role: object = None, **headers: str) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(web),
            base_url="http://gateway.test",
            cookies={"gateway": token(role)} if role else {},
            headers=headers,
        )

    return make
