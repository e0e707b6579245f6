from pathlib import Path

import pytest
from pydicom import Dataset, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from gateway.dicom.header import read_object
from gateway.dicom.incoming import IncomingObject
from gateway.model.measurement import Code
from gateway.model.study import Received, SeriesFacts, StudyFacts


class _File:
    """An object on disk, as far as the header's reader asks for it."""

    def __init__(self, path: Path) -> None:
        self.path, self.offset, self.size = path, 0, path.stat().st_size


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, scheme, meaning
    return code


def _object() -> Dataset:
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.6.1", "1.2.3.4.5"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.2.3", "1.2.3.4"
    return dataset


def _read(dataset: Dataset, tmp_path: Path, syntax: str = ExplicitVRLittleEndian) -> Received:
    path = tmp_path / "object"
    dataset.file_meta = FileMetaDataset()
    implicit, little = syntax == ImplicitVRLittleEndian, syntax != ExplicitVRBigEndian
    dcmwrite(path, dataset, implicit_vr=implicit, little_endian=little, enforce_file_format=False)
    raw = path.read_bytes()
    path.write_bytes(raw)
    incoming: IncomingObject = _File(path)  # type: ignore[assignment]
    return read_object(incoming, syntax, "US1")


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_the_header_says_what_others_are_told(tmp_path: Path, syntax: str) -> None:
    dataset, issuer = _object(), Dataset()
    issuer.UniversalEntityID, issuer.UniversalEntityIDType = "1.2.3.4", "ISO"
    dataset.IssuerOfAccessionNumberSequence = [issuer]
    dataset.ReferringPhysicianName = "Who^Anna"
    dataset.ProcedureCodeSequence = [_code("USABD", "99LOC", "Ultraschall, Bauch: \u00dcbersicht")]
    dataset.AnatomicRegionSequence = [_code("T-71000", "SRT", "Kidney")]
    dataset.SeriesDate, dataset.SeriesTime, dataset.TimezoneOffsetFromUTC = "20260623", "103020", "+0100"
    dataset.BodyPartExamined, dataset.ImageLaterality = "KIDNEY", "R"
    dataset.PerformingPhysicianName, dataset.OperatorsName = "Who^Anna", ["Tech^Tom", "Tech^Tina"]
    dataset.StationName, dataset.ImageType = "ROOM1", ["ORIGINAL", "PRIMARY"]
    found = _read(dataset, tmp_path, syntax)
    assert found.facts == StudyFacts(
        zone_offset="+0100",
        accession_issuer="1.2.3.4",
        referring="Who^Anna",
        procedure=(Code(value="USABD", scheme="99LOC", meaning="Ultraschall, Bauch: \u00dcbersicht"),),
    )
    assert found.series_facts == SeriesFacts(
        date="20260623",
        time="103020",
        zone_offset="+0100",
        body_part="KIDNEY",
        region=Code(value="T-71000", scheme="SRT", meaning="Kidney"),
        laterality="R",
        performing="Who^Anna",
        operators="Tech^Tom\\Tech^Tina",
        station="ROOM1",
    )
    assert found.title == "ORIGINAL PRIMARY"


def test_a_report_is_called_what_its_root_says_and_a_document_by_its_title(tmp_path: Path) -> None:
    report = _object()
    report.ConceptNameCodeSequence = [_code("125000", "DCM", "OB-GYN Ultrasound Procedure Report")]
    assert _read(report, tmp_path).title == "OB-GYN Ultrasound Procedure Report"
    report.DocumentTitle = "Letter"
    assert _read(report, tmp_path).title == "Letter"


def test_the_procedure_asked_for_stands_in_where_none_was_coded(tmp_path: Path) -> None:
    dataset, request = _object(), Dataset()
    request.RequestedProcedureCodeSequence = [_code("45036003", "SCT", "US abdomen")]
    dataset.RequestAttributesSequence = [request, request]
    (code,) = _read(dataset, tmp_path).facts.procedure
    assert code.value == "45036003"


def test_a_bare_header_says_nothing(tmp_path: Path) -> None:
    found = _read(_object(), tmp_path)
    assert (found.facts, found.series_facts, found.title) == (StudyFacts(), SeriesFacts(), "")
