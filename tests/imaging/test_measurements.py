"""Measurements: real reports against their index, and made ones item by item."""

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, replace
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    XRayRadiationDoseSRStorage,
)

from gateway.imaging import measurements as limits
from gateway.imaging.measurements import read_measurements
from gateway.model.errors import GatewayError, Malformed, Refused, Unavailable
from gateway.model.measurement import Circumstances, Code, Measurement, Report, read_circumstances

WriteReport = Callable[..., Path]

FEMUR = Code(value="11963-6", scheme="LN", meaning="Femur Length")
CENTIMETRE = Code(value="cm", scheme="UCUM", meaning="centimeter")
UNNAMED = Code(value="", scheme="", meaning="")


@pytest.mark.parametrize(
    "syntax",
    [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian],
)
def test_a_number_comes_with_its_name_unit_and_place(write_report: WriteReport, syntax: str) -> None:
    biometry = _container("Fetal Biometry", [_text(), _container("Long Bones", [_number("3.50")])])
    path = write_report(
        [_text(), biometry], syntax=syntax, ConceptNameCodeSequence=[_code("125000", "DCM", "OB-GYN Report")]
    )
    (found,) = read_measurements(path)
    assert replace(found, circumstances=Circumstances()) == Measurement(
        name=FEMUR,
        value="3.50",
        unit=CENTIMETRE,
        context=("OB-GYN Report", "Fetal Biometry", "Long Bones"),
        path="1.2.2.1",
    )


def test_a_number_comes_with_what_qualifies_it(write_report: WriteReport) -> None:
    """Source: DICOM PS3.16 TID 300, 1008, 5008."""
    mean = _qualified("121401", "DCM", "Derivation", _code("R-00317", "SRT", "Mean"))
    site = _qualified("363698007", "SCT", "Finding Site", _code("64033007", "SCT", "Kidney"))
    left = _qualified("272741003", "SCT", "Laterality", _code("7771000", "SCT", "Left"))
    site.ContentSequence = [left]
    fetus = Dataset()
    fetus.RelationshipType, fetus.ValueType, fetus.TextValue = "HAS OBS CONTEXT", "TEXT", "A"
    fetus.ConceptNameCodeSequence = [_code("11951-1", "LN", "Fetus ID")]
    number, plain = _number("52.10"), _number("1")
    number.ContentSequence = [mean]
    number.ObservationUID = "1.2.9"
    plain.NumericValueQualifierCodeSequence = [_code("114006", "DCM", "Measurement failure")]
    path = write_report([_container("Biometry", [fetus, site, number]), plain])
    (one, other) = read_measurements(path)
    assert one.circumstances.subject == "A"
    assert one.circumstances.observation_uid == "1.2.9"
    assert [(said.meaning, value.meaning) for said, value in one.circumstances.modifiers] == [
        ("Derivation", "Mean"),
        ("Finding Site", "Kidney"),
        ("Laterality", "Left"),
    ]
    assert (other.circumstances.subject, other.circumstances.modifiers) == ("", ())
    assert other.circumstances.qualifier == Code(value="114006", scheme="DCM", meaning="Measurement failure")


def test_a_number_comes_with_the_flags_of_its_report(write_report: WriteReport) -> None:
    sop, series, study = Dataset(), Dataset(), Dataset()
    sop.ReferencedSOPInstanceUID = "1.2.3"
    series.ReferencedSOPSequence = [sop]
    study.ReferencedSeriesSequence = [series]
    path = write_report(
        [_number("1")],
        SOPInstanceUID="1.2.4",
        CompletionFlag="COMPLETE",
        VerificationFlag="VERIFIED",
        PreliminaryFlag="FINAL",
        PredecessorDocumentsSequence=[study],
        ContentDate="20260623",
        ContentTime="104501",
        TimezoneOffsetFromUTC="+0100",
    )
    (found,) = read_measurements(path)
    assert found.circumstances.report == Report(
        sop_uid="1.2.4",
        is_complete=True,
        is_verified=True,
        is_preliminary=False,
        replaces=("1.2.3",),
        date="20260623",
        time="104501",
        zone_offset="+0100",
    )
    assert read_circumstances(asdict(found.circumstances)) == found.circumstances


def test_numbers_come_in_the_order_of_the_tree(write_report: WriteReport) -> None:
    outer = _number("1")
    outer.ContentSequence = [_number("2"), _number("3")]
    path = write_report([outer, _container("", [_number("4")]), _number("5")])
    found = [(measurement.value, measurement.path) for measurement in read_measurements(path)]
    assert found == [("1", "1.1"), ("2", "1.1.1"), ("3", "1.1.2"), ("4", "1.2.1"), ("5", "1.3")]


@pytest.mark.parametrize(
    "text", ["3.50", "0003", "+1.0", "-0.0", "1.250E-03", ".5", "7.", "12345678901234.0"]
)
def test_the_value_is_the_text_the_machine_wrote(write_report: WriteReport, text: str) -> None:
    path = _write_value(write_report, text)
    assert [measurement.value for measurement in read_measurements(path)] == [text]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(st.decimals(allow_nan=False, allow_infinity=False).map(str).filter(lambda text: len(text) <= 16))
def test_any_decimal_survives(write_report: WriteReport, text: str) -> None:
    (measurement,) = read_measurements(_write_value(write_report, text))
    assert measurement.value == text
    Decimal(measurement.value)


@pytest.mark.parametrize("text", ["12,5", "abc", "1\\2", "", "nan", "1 2"])
def test_what_is_no_decimal_is_no_value(write_report: WriteReport, text: str) -> None:
    (measurement,) = read_measurements(_write_value(write_report, text))
    assert (measurement.value, measurement.unit) == ("", CENTIMETRE)


def test_a_number_without_value_has_no_unit(write_report: WriteReport) -> None:
    absent, empty = _number("1"), _number("1")
    del absent.MeasuredValueSequence
    empty.MeasuredValueSequence = []
    found = read_measurements(write_report([absent, empty]))
    assert [(measurement.name, measurement.value, measurement.unit) for measurement in found] == [
        (FEMUR, "", None),
        (FEMUR, "", None),
    ]


def test_what_a_report_leaves_out_stays_empty(write_report: WriteReport) -> None:
    nameless, unitless, bare = _number("1"), _number("2"), Dataset()
    del nameless.ConceptNameCodeSequence
    nameless.MeasuredValueSequence[0].MeasurementUnitsCodeSequence = []
    del unitless.MeasuredValueSequence[0].MeasurementUnitsCodeSequence
    unitless.ConceptNameCodeSequence = [Dataset()]
    bare.ValueType = "NUM"
    untyped = Dataset()
    untyped.ContentSequence = [_number("4")]
    found = read_measurements(write_report([nameless, unitless, bare, Dataset(), untyped]))
    assert [(measurement.name, measurement.value, measurement.unit) for measurement in found] == [
        (UNNAMED, "1", None),
        (UNNAMED, "2", None),
        (UNNAMED, "", None),
        (FEMUR, "4", CENTIMETRE),
    ]
    assert found[-1].context == ()


def test_long_code_values_are_read(write_report: WriteReport) -> None:
    long, urn = _number("1"), _number("2")
    for item, keyword in ((long, "LongCodeValue"), (urn, "URNCodeValue")):
        code = item.ConceptNameCodeSequence[0]
        setattr(code, keyword, "a-code-longer-than-16-characters")
        del code.CodeValue
    values = {measurement.name.value for measurement in read_measurements(write_report([long, urn]))}
    assert values == {"a-code-longer-than-16-characters"}


def test_meanings_are_decoded(write_report: WriteReport) -> None:
    item = _number("1")
    item.ConceptNameCodeSequence = [_code("1", "99X", "Fémur – 大腿骨")]
    path = write_report([item], SpecificCharacterSet="ISO_IR 192")
    assert read_measurements(path)[0].name.meaning == "Fémur – 大腿骨"


@pytest.mark.parametrize(
    ("sop_class", "modality", "count"),
    [
        (XRayRadiationDoseSRStorage, "SR", 1),
        ("1.2.840.10008.5.1.4.1.1.88.1", "OT", 1),  # a retired trial class
        ("1.2.276.0.99.1", "SR", 1),  # a private class
        ("1.2.840.10008.5.1.4.1.1.7", "OT", 0),
    ],
)
def test_every_report_class_is_read_and_nothing_else(
    write_report: WriteReport, sop_class: str, modality: str, count: int
) -> None:
    path = write_report([_number("1")], SOPClassUID=sop_class, Modality=modality)
    assert len(read_measurements(path)) == count


def test_an_image_has_no_measurements(bundled: Callable[[str], Path]) -> None:
    assert read_measurements(bundled("MR_small.dcm")) == ()


def test_a_report_too_deep_is_refused(write_report: WriteReport) -> None:
    item = _number("1")
    for _ in range(limits.MAX_DEPTH - 1):
        item = _container("Deep", [item])
    assert len(read_measurements(write_report([item]))) == 1
    with pytest.raises(Refused, match=r"\(0040,A730\)"):
        read_measurements(write_report([_container("Deep", [item])]))


def test_a_report_too_long_is_refused(write_report: WriteReport, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_report([_number("1") for _ in range(5)])
    for limit, fitting in (
        ("MAX_ITEMS", 5),
        ("MAX_MEASUREMENTS", 5),
        ("MAX_REPORT_BYTES", path.stat().st_size),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(limits, limit, fitting)
            assert len(read_measurements(path)) == 5
            patch.setattr(limits, limit, fitting - 1)
            with pytest.raises(Refused):
                read_measurements(path)


def test_a_report_cut_anywhere_gives_what_is_there_or_our_own_error(
    write_report: WriteReport, tmp_path: Path
) -> None:
    path = write_report([_container("Biometry", [_number("1.0"), _number("2.0")])])
    content = path.read_bytes()
    for length in range(0, len(content), 7):
        (tmp_path / "cut.dcm").write_bytes(content[:length])
        try:
            found = read_measurements(tmp_path / "cut.dcm")
        except GatewayError:
            continue
        assert {measurement.value for measurement in found} <= {"1.0", "2.0", ""}


def test_sequences_nested_without_end_are_our_own_error(write_report: WriteReport, tmp_path: Path) -> None:
    opening = b"\x40\x00\x30\xa7SQ\0\0\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    content = write_report([]).read_bytes()
    (tmp_path / "deep.dcm").write_bytes(content[:-12] + opening * 20_000)
    with pytest.raises((Malformed, Refused)):
        read_measurements(tmp_path / "deep.dcm")


def test_an_absent_report_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(Unavailable):
        read_measurements(tmp_path / "absent.dcm")


@pytest.mark.corpora
def test_the_corpora_agree_with_their_index(
    corpora: Path, corpora_rows: Callable[[str], list[dict[str, str]]]
) -> None:
    for row in corpora_rows("index-sr.tsv"):
        found = read_measurements(corpora / row["file"])
        types = dict(part.split("=") for part in row["ValueTypes"].split())
        assert len(found) == int(types.get("NUM", 0)), row["file"]
        without = [measurement for measurement in found if not measurement.value]
        assert len(without) == int(row["NUM without value"]), row["file"]
        assert len({measurement.name.value for measurement in found}) == int(row["Distinct NUM concepts"])
        units = Counter(measurement.unit.value for measurement in found if measurement.unit is not None)
        assert units == _indexed_units(row["Units"]), row["file"]
        assert len({measurement.path for measurement in found}) == len(found)


def _indexed_units(text: str) -> Counter[str]:
    """Source: "mm=4 mm2=2"; a unit may itself hold an equals sign."""
    pairs = (part.rpartition("=") for part in text.split())
    return Counter({unit: int(count) for unit, _, count in pairs})


def _write_value(write_report: WriteReport, text: str) -> Path:
    """A report whose one value is `text`, whatever pydicom thinks of it."""
    place = "9876543210.98765"
    path = write_report([_number(place)])
    path.write_bytes(path.read_bytes().replace(place.encode(), text.ljust(len(place)).encode()))
    return path


def _number(value: str) -> Dataset:
    item, measured = Dataset(), Dataset()
    item.ValueType = "NUM"
    item.RelationshipType = "CONTAINS"
    item.ConceptNameCodeSequence = [_code(FEMUR.value, FEMUR.scheme, FEMUR.meaning)]
    measured.NumericValue = value
    measured.MeasurementUnitsCodeSequence = [_code(CENTIMETRE.value, CENTIMETRE.scheme, CENTIMETRE.meaning)]
    item.MeasuredValueSequence = [measured]
    return item


def _qualified(value: str, scheme: str, meaning: str, code: Dataset) -> Dataset:
    item = Dataset()
    item.RelationshipType, item.ValueType = "HAS CONCEPT MOD", "CODE"
    item.ConceptNameCodeSequence = [_code(value, scheme, meaning)]
    item.ConceptCodeSequence = [code]
    return item


def _container(meaning: str, content: list[Dataset]) -> Dataset:
    item = Dataset()
    item.ValueType = "CONTAINER"
    if meaning:
        item.ConceptNameCodeSequence = [_code("1", "99TEST", meaning)]
    item.ContentSequence = content
    return item


def _text() -> Dataset:
    item = Dataset()
    item.ValueType = "TEXT"
    item.TextValue = "12.5 cm"
    return item


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, scheme, meaning
    return code
