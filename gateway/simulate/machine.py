"""The simulated ultrasound machine: asks for its worklist, examines, stores what it made."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pydicom import dcmread
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext, build_context
from pynetdicom.sop_class import ModalityWorklistInformationFind  # type: ignore[attr-defined]

from gateway.model.errors import Invalid, Malformed, Refused, Unavailable
from gateway.model.ids import Uid
from gateway.simulate.objects import Entry, Session, images
from gateway.simulate.report import report

SUCCESS = 0x0000
PENDING = frozenset({0xFF00, 0xFF01})
"""Source: DICOM PS3.4 K.4.1.1.4."""

TIMEOUT_S = 30.0

_PATIENT = {
    "PatientName": "patient_name",
    "PatientID": "patient_id",
    "IssuerOfPatientID": "issuer",
    "PatientBirthDate": "birth_date",
    "PatientSex": "sex",
    "AccessionNumber": "accession",
    "StudyInstanceUID": "study_uid",
    "RequestedProcedureID": "procedure_id",
    "RequestedProcedureDescription": "description",
    "ReferringPhysicianName": "referring",
}
_STEP = {
    "ScheduledProcedureStepID": "step_id",
    "ScheduledProcedureStepDescription": "step_description",
    "ScheduledStationAETitle": "station",
    "Modality": "modality",
    "ScheduledProcedureStepStartDate": "start_date",
    "ScheduledProcedureStepStartTime": "start_time",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """What the other side answered to one object; `status` is None when it answered nothing."""

    sop_uid: str
    status: int | None  # DICOM PS3.7 C; 0 is success

    @property
    def is_kept(self) -> bool:
        """Whether the other side has it. Warnings (0xBxxx) are kept objects. Source: DICOM PS3.4 B.2.3."""
        return self.status is not None and (self.status == SUCCESS or self.status & 0xF000 == 0xB000)


def query(
    host: str,
    port: int,
    *,
    calling_ae: str,
    called_ae: str = "STORESCP",
    timeout_s: float = TIMEOUT_S,
    **keys: str,
) -> tuple[Entry, ...]:
    """The worklist's answers. `keys` are DICOM keywords and what to match, `PatientName="DOE*"`; none asks for all.

    Raises Unavailable when the worklist cannot be reached, Refused when it answers with a failure, Invalid for a
    keyword that DICOM does not know.
    """
    context = build_context(ModalityWorklistInformationFind, [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
    found = []
    with associated(host, port, calling_ae, called_ae, [context], timeout_s) as association:
        for status, identifier in association.send_c_find(_identifier(keys), ModalityWorklistInformationFind):
            code = status.get("Status")
            if code is None:
                raise Unavailable("the worklist stopped answering")
            if code in PENDING and identifier is not None:
                found.append(_entry(identifier))
            elif code != SUCCESS:
                raise Refused(f"the worklist answered with status 0x{code:04X}")
    return tuple(found)


def acquire(entry: Entry, *, now: datetime, new_uid: Callable[[], Uid]) -> tuple[Dataset, ...]:
    """The images and the report of one examination, ready to be stored.

    They carry the entry's patient, accession number and Study Instance UID; without one the machine makes its own.
    `now` is aware, in the machine's zone.
    """
    session = Session(entry=entry, now=now, new_uid=new_uid, study_uid=entry.study_uid or new_uid())
    pictures = images(session)
    return (*pictures, report(session, pictures))


def read_objects(paths: Iterable[Path]) -> tuple[Dataset, ...]:
    """The DICOM files at `paths`. Raises Invalid, and Malformed for what is no DICOM file."""
    return tuple(_read(path) for path in paths)


def store(
    datasets: Iterable[Dataset],
    host: str,
    port: int,
    *,
    calling_ae: str,
    called_ae: str = "STORESCP",
    timeout_s: float = TIMEOUT_S,
) -> tuple[Stored, ...]:
    """What `host` answered to each object, all sent on one association in their own transfer syntaxes.

    Raises Unavailable when it cannot be reached, and Refused when it takes none of an object's kind.
    """
    objects = tuple(datasets)
    kinds = dict.fromkeys((str(ds.SOPClassUID), str(ds.file_meta.TransferSyntaxUID)) for ds in objects)
    contexts = [build_context(sop_class, syntax) for sop_class, syntax in kinds]
    with associated(host, port, calling_ae, called_ae, contexts, timeout_s) as association:
        return tuple(_store_one(association, ds) for ds in objects)


@contextmanager
def associated(
    host: str,
    port: int,
    calling_ae: str,
    called_ae: str,
    contexts: list[PresentationContext],
    timeout_s: float,
) -> Iterator[Association]:
    """An association, released at the end. Raises Unavailable when there is none to be had."""
    ae = AE(calling_ae)
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = ae.connection_timeout = timeout_s
    association = ae.associate(host, port, contexts=contexts, ae_title=called_ae)
    if not association.is_established:
        raise Unavailable("association: refused, or nobody listens there")
    try:
        yield association
    finally:
        if association.is_established:
            association.release()


def _identifier(keys: dict[str, str]) -> Dataset:
    """Source: DICOM PS3.4 table K.6-1."""
    if unknown := sorted(keyword for keyword in keys if tag_for_keyword(keyword) is None):
        raise Invalid(*(f"{keyword}: not a DICOM keyword" for keyword in unknown))
    step = Dataset()
    for keyword in _STEP:
        setattr(step, keyword, keys.get(keyword, ""))
    asked = Dataset()
    asked.SpecificCharacterSet = "ISO_IR 192"
    for keyword in (*_PATIENT, *keys):
        if keyword not in _STEP:
            setattr(asked, keyword, keys.get(keyword, ""))
    asked.ScheduledProcedureStepSequence = Sequence([step])
    return asked


def _entry(answer: Dataset) -> Entry:
    steps = answer.get("ScheduledProcedureStepSequence") or [Dataset()]
    texts = {field: _text(answer, keyword) for keyword, field in _PATIENT.items()}
    texts |= {field: _text(steps[0], keyword) for keyword, field in _STEP.items()}
    return Entry(**texts)


def _text(ds: Dataset, keyword: str) -> str:
    value = ds.get(keyword)
    return "" if value is None else str(value)


def _read(path: Path) -> Dataset:
    try:
        return dcmread(path)
    except OSError as error:
        raise Invalid(f"{path}: cannot be read: {error.strerror}") from None
    except InvalidDicomError as error:
        raise Malformed(f"{path}: not a DICOM file") from error


def _store_one(association: Association, ds: Dataset) -> Stored:
    if not association.is_established:
        return Stored(sop_uid=str(ds.SOPInstanceUID), status=None)
    try:
        status = association.send_c_store(ds)
    except ValueError as error:
        raise Refused("association: the object's class or transfer syntax was not accepted") from error
    return Stored(sop_uid=str(ds.SOPInstanceUID), status=status.get("Status"))
