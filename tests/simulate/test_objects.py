"""What the simulated machine makes."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.pixels.utils import pixel_array

from gateway.model.ids import Uid
from gateway.simulate.machine import acquire
from gateway.simulate.objects import Entry
from gateway.simulate.pictures import KIDNEY, labelled, sector

ENTRY = Entry(
    patient_name="MÜLLER^JÜRGEN",
    patient_id="MRN1001",
    birth_date="19710309",
    sex="M",
    accession="US261123001",
    study_uid="2.25.77",
    procedure_id="RP1",
    step_id="SPS1",
    description="Ultrasound abdomen & kidneys",
    station="US1",
)


@pytest.fixture
def made(now: datetime, new_uid: Callable[[], Uid]) -> tuple[Dataset, ...]:
    return acquire(ENTRY, now=now, new_uid=new_uid)


def test_every_object_carries_the_entry(made: tuple[Dataset, ...]) -> None:
    assert len(made) == 4
    for ds in made:
        assert (ds.PatientName, ds.PatientID) == ("MÜLLER^JÜRGEN", "MRN1001")
        assert (ds.AccessionNumber, ds.StudyInstanceUID) == ("US261123001", "2.25.77")
        assert (ds.StudyDate, ds.TimezoneOffsetFromUTC) == ("20261123", "+0000")
    for picture in made[:3]:
        (request,) = picture.RequestAttributesSequence
        assert (request.RequestedProcedureID, request.ScheduledProcedureStepID) == ("RP1", "SPS1")
    (request,) = made[3].ReferencedRequestSequence
    assert (request.AccessionNumber, request.RequestedProcedureID) == ("US261123001", "RP1")


def test_uids_are_the_callers(made: tuple[Dataset, ...]) -> None:
    uids = [ds.SOPInstanceUID for ds in made]
    assert len(set(uids)) == 4
    assert all(uid.startswith("2.25.10") for uid in uids)


def test_a_machine_without_an_entry_makes_its_own_study(now: datetime, new_uid: Callable[[], Uid]) -> None:
    made = acquire(Entry(), now=now, new_uid=new_uid)
    (study_uid,) = {ds.StudyInstanceUID for ds in made}
    assert study_uid.startswith("2.25.10")


def test_pixels_are_pictures(made: tuple[Dataset, ...]) -> None:
    shapes = [pixel_array(ds).shape for ds in made[:3]]
    assert shapes == [(480, 640, 3), (480, 640), (12, 240, 320, 3)]
    for ds in made[:3]:
        assert pixel_array(ds).std() > 10


def test_the_report_holds_its_numbers_and_its_evidence(made: tuple[Dataset, ...]) -> None:
    numbers = {
        item.ConceptNameCodeSequence[0].CodeMeaning: item.MeasuredValueSequence[0]
        for item in _items(made[3])
        if item.ValueType == "NUM"
    }
    length = numbers["Right Kidney length"]
    assert str(length.NumericValue) == "10.5"
    assert length.MeasurementUnitsCodeSequence[0].CodingSchemeDesignator == "UCUM"
    assert str(numbers["Left Kidney length"].NumericValue) == "11.20"
    (study,) = made[3].CurrentRequestedProcedureEvidenceSequence
    (series,) = study.ReferencedSeriesSequence
    named = {item.ReferencedSOPInstanceUID for item in series.ReferencedSOPSequence}
    assert named == {ds.SOPInstanceUID for ds in made[:3]}


@pytest.mark.dcmtk
def test_dcmtk_reads_the_report(made: tuple[Dataset, ...], tmp_path: Path) -> None:
    if shutil.which("dsrdump") is None:
        pytest.skip("Debian's dcmtk is not installed")
    made[3].save_as(tmp_path / "sr.dcm", enforce_file_format=True)
    dumped = subprocess.run(
        ["dsrdump", str(tmp_path / "sr.dcm")], check=True, capture_output=True, text=True, encoding="utf-8"
    )
    assert 'NUM:(,,"Right Kidney length")="10.5" (cm,UCUM,"cm")' in dumped.stdout


def test_the_same_patient_looks_the_same_and_another_does_not() -> None:
    first = sector(KIDNEY, seed=1, width=160, height=120)
    assert np.array_equal(first, sector(KIDNEY, seed=1, width=160, height=120))
    assert not np.array_equal(first, sector(KIDNEY, seed=2, width=160, height=120))


def test_a_label_adds_to_the_picture() -> None:
    grey = sector(KIDNEY, seed=1, width=160, height=120)
    shown = labelled(grey, ("RIGHT KIDNEY",), KIDNEY[0])
    assert shown.shape == (120, 160, 3)
    assert not np.array_equal(shown[..., 0], shown[..., 2])


def _items(container: Dataset) -> Iterator[Dataset]:
    for item in container.get("ContentSequence", []):
        yield item
        yield from _items(item)
