"""What DICOM allows in an attribute."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mapping.dictionary import START, Target, fault_in, find_target
from gateway.model.order import Value


def target(keyword: str) -> Target:
    found = find_target(keyword)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("AccessionNumber", "A" * 16),
        ("PatientID", "P" * 64),
        ("Modality", "US"),
        ("ScheduledStationAETitle", "US1\\US2"),
        ("PatientBirthDate", "20240229"),
        ("PatientName", "Doe^Jane^Q^Mrs^MD=山田^太郎=ヤマダ"),
        ("PatientName", "A" * 64 + "=" + "B" * 64),
        ("StudyInstanceUID", "1.2.840.0.1"),
        ("PregnancyStatus", "3"),
        ("PatientWeight", "70.5"),
        ("PatientSize", "1.7e0"),
        ("RequestedProcedureComments", "one\ntwo\\three"),
        (START, "2026-03-15"),
        (START, "2026-03-15T10:15:00-05:00"),
        (
            "RequestedProcedureCodeSequence",
            ({"CodeValue": "1", "CodingSchemeDesignator": "C4", "CodeMeaning": "x"},),
        ),
    ],
)
def test_what_dicom_allows_has_no_fault(keyword: str, value: Value) -> None:
    assert fault_in(target(keyword), value) == ""


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("AccessionNumber", "A" * 17),
        ("AccessionNumber", "A\\B"),
        ("PatientID", "P" * 65),
        ("PatientID", "a\nb"),
        ("Modality", "us"),
        ("ScheduledStationAETitle", "US1\\" + "A" * 17),
        ("PatientBirthDate", "20230229"),
        ("PatientBirthDate", "1980-02-14"),
        ("PatientBirthDate", "٢٠٢٤٠٢٢٩"),
        ("PatientName", "A" * 65),
        ("PatientName", "a^b^c^d^e^f"),
        ("PatientName", "a=b=c=d"),
        ("StudyInstanceUID", "1.02.3"),
        ("StudyInstanceUID", "1.2." + "3" * 64),
        ("PregnancyStatus", "-1"),
        ("PregnancyStatus", "65536"),
        ("PregnancyStatus", "B6"),
        ("PatientWeight", "70 kg"),
        ("PatientAge", "34"),
        ("RequestedProcedureComments", "bell\a"),
        (START, "20260315"),
        (START, "2026-W11-7"),
        (START, "2026-03-15T10:15:00"),
        ("RequestedProcedureCodeSequence", "71020"),
        ("RequestedProcedureCodeSequence", ({"CodeValue": "1" * 17},)),
        ("RequestedProcedureCodeSequence", ({"CodeValu": "1"},)),
        ("PatientID", ({"CodeValue": "1"},)),
    ],
)
def test_what_dicom_does_not_allow_is_told_without_the_value(keyword: str, value: Value) -> None:
    fault = fault_in(target(keyword), value)
    assert fault
    assert not isinstance(value, str) or value not in fault


def test_a_module_may_ask_for_less() -> None:
    assert fault_in(target("PatientID"), "12345", 4) == "is longer than 4 characters"


def test_keywords_that_cannot_be_filled_are_no_targets() -> None:
    assert find_target("NoSuchKeyword") is None
    assert find_target("PixelData") is None
    assert find_target("") is None


KEYWORDS = ["AccessionNumber", "PatientName", "PatientBirthDate", "StudyInstanceUID", "PregnancyStatus", "PatientAge",
            "PatientWeight", "ScheduledStationAETitle", "RequestedProcedureComments", START]  # fmt: skip


@given(st.sampled_from(KEYWORDS), st.text())
def test_any_text_is_allowed_or_not(keyword: str, text: str) -> None:
    assert isinstance(fault_in(target(keyword), text), str)
