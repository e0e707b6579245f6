"""What a machine tells is read, or refused: never anything else, whatever the bytes."""

from contextlib import suppress

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom.dsutils import encode

from gateway.dicom.mpps import Said, read_begun, read_told
from gateway.flow.ports import Ports
from gateway.model.errors import Malformed
from gateway.model.ids import Uid
from gateway.model.performed import Letter


def creation() -> Dataset:
    said, step, series, image = Dataset(), Dataset(), Dataset(), Dataset()
    step.StudyInstanceUID = "1.2.3"
    image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID = "1.2", "1.3"
    series.SeriesInstanceUID, series.ReferencedImageSequence = "1.2.3.1", [image]
    said.ScheduledStepAttributesSequence = [step]
    said.PatientName = "Walk^In"
    said.PerformedProcedureStepID = "P1"
    said.PerformedStationAETitle = "US1"
    said.PerformedProcedureStepStartDate = "20261123"
    said.PerformedProcedureStepStartTime = "091500"
    said.PerformedProcedureStepStatus = "IN PROGRESS"
    said.Modality = "US"
    said.TotalNumberOfExposures = 7
    said.PerformedSeriesSequence = [series]
    return said


@given(at=st.integers(0, 2000), junk=st.binary(max_size=12), is_implicit=st.booleans())
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_bytes_come_are_read_or_refused(
    ports: Ports, at: int, junk: bytes, is_implicit: bool
) -> None:
    encoded = encode(creation(), is_implicit, True)
    assert encoded is not None
    cut = at % len(encoded)
    content = encoded[:cut] + junk + encoded[cut + len(junk) :]
    syntax = ImplicitVRLittleEndian if is_implicit else ExplicitVRLittleEndian
    with suppress(Malformed):
        said = Said(Letter(verb="N-CREATE", transfer_syntax=syntax, content=content))
        assert len(read_begun(said, Uid("1.2.9"), "US1").steps) > 0
        read_told(said, ports)
