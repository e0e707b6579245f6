"""The simulated machine tells what it does: a performed procedure step begun, completed or given up.

Source: DICOM PS3.4 F.7.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom.association import Association
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import ModalityPerformedProcedureStep  # type: ignore[attr-defined]

from gateway.model.errors import Unavailable
from gateway.model.ids import Uid
from gateway.simulate.machine import TIMEOUT_S, associated
from gateway.simulate.objects import Entry


@dataclass(frozen=True, slots=True, kw_only=True)
class Teller:
    """A machine and whom it tells."""

    host: str
    port: int
    calling_ae: str
    called_ae: str = "STORESCP"
    timeout_s: float = TIMEOUT_S

    def begin(self, uid: Uid, entry: Entry, now: datetime) -> int:
        """The status that the other side gives to the N-CREATE; `now` is in the machine's zone.

        Raises Unavailable when it cannot be reached or gives none.
        """
        with self._linked() as link:
            answer, _ = link.send_n_create(
                _creation(entry, self.calling_ae, now), ModalityPerformedProcedureStep, uid
            )
        return _status(answer)

    def end(self, uid: Uid, state: str, made: Iterable[Dataset], now: datetime) -> int:
        """The status that the other side gives to the N-SET; `state` is COMPLETED or DISCONTINUED.

        Raises Unavailable when it cannot be reached or gives none.
        """
        with self._linked() as link:
            answer, _ = link.send_n_set(_modification(state, made, now), ModalityPerformedProcedureStep, uid)
        return _status(answer)

    @contextmanager
    def _linked(self) -> Iterator[Association]:
        context = build_context(
            ModalityPerformedProcedureStep, [ExplicitVRLittleEndian, ImplicitVRLittleEndian]
        )
        with associated(
            self.host, self.port, self.calling_ae, self.called_ae, [context], self.timeout_s
        ) as link:
            yield link


def _status(answer: Dataset) -> int:
    code = answer.get("Status")
    if code is None:
        raise Unavailable("the other side stopped answering")
    return int(code)


def _creation(entry: Entry, ae_title: str, now: datetime) -> Dataset:
    """Source: DICOM PS3.4 table F.7.2-1."""
    step = Dataset()
    step.StudyInstanceUID = entry.study_uid
    step.AccessionNumber = entry.accession
    step.ScheduledProcedureStepID = entry.step_id
    step.RequestedProcedureID = entry.procedure_id
    step.RequestedProcedureDescription = entry.description
    step.ReferencedStudySequence = []
    said = Dataset()
    said.SpecificCharacterSet = "ISO_IR 192"
    said.ScheduledStepAttributesSequence = [step]
    said.PatientName = entry.patient_name
    said.PatientID = entry.patient_id
    said.PatientBirthDate = entry.birth_date
    said.PatientSex = entry.sex
    said.PerformedProcedureStepID = (entry.step_id or "1")[:16]
    said.PerformedStationAETitle = ae_title
    said.PerformedProcedureStepStartDate = f"{now:%Y%m%d}"
    said.PerformedProcedureStepStartTime = f"{now:%H%M%S}"
    said.PerformedProcedureStepStatus = "IN PROGRESS"
    said.PerformedProcedureStepDescription = entry.step_description
    said.PerformedProcedureStepEndDate = said.PerformedProcedureStepEndTime = ""
    said.Modality = entry.modality or "US"
    said.StudyID = ""
    said.PerformedSeriesSequence = []
    return said


def _modification(state: str, made: Iterable[Dataset], now: datetime) -> Dataset:
    series: dict[str, Dataset] = {}
    for one in made:
        item = series.setdefault(str(one.SeriesInstanceUID), _series(one))
        reference = Dataset()
        reference.ReferencedSOPClassUID = one.SOPClassUID
        reference.ReferencedSOPInstanceUID = one.SOPInstanceUID
        has_picture = "Rows" in one
        kept = (
            item.ReferencedImageSequence
            if has_picture
            else item.ReferencedNonImageCompositeSOPInstanceSequence
        )
        kept.append(reference)
    said = Dataset()
    said.PerformedProcedureStepStatus = state
    said.PerformedProcedureStepEndDate = f"{now:%Y%m%d}"
    said.PerformedProcedureStepEndTime = f"{now:%H%M%S}"
    said.PerformedSeriesSequence = list(series.values())
    return said


def _series(one: Dataset) -> Dataset:
    item = Dataset()
    item.SeriesInstanceUID = one.SeriesInstanceUID
    item.ProtocolName = "Exam"
    item.SeriesDescription = item.OperatorsName = item.PerformingPhysicianName = item.RetrieveAETitle = ""
    item.ReferencedImageSequence = []
    item.ReferencedNonImageCompositeSOPInstanceSequence = []
    return item
