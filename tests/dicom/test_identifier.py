"""Orders as answers, without a network."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from io import BytesIO
from zoneinfo import ZoneInfo

import pytest
from pydicom.dataset import Dataset
from pynetdicom.dsutils import decode

from gateway.dicom import identifier
from gateway.dicom.elements import IMPLICIT
from gateway.dicom.identifier import attributes_of
from gateway.dicom.keys import Asked
from gateway.dicom.matching import agrees
from gateway.model.ids import OrderId
from gateway.model.order import Attributes, Order
from gateway.model.worklist import Match

Make = Callable[..., Order]
Keys = Callable[..., Dataset]
Ask = Callable[[Dataset], Asked]
LONDON = ZoneInfo("Europe/London")


def answer(attributes: Attributes, wanted: Asked, order_id: OrderId) -> Dataset:
    """The answer as pydicom reads it."""
    encoded = identifier.answer(attributes, wanted, order_id).encoded(IMPLICIT)
    return decode(BytesIO(encoded), True, True)


def _attributes(order: Order) -> Attributes:
    return attributes_of(order, station="US9", zone=LONDON)


def test_an_order_whose_hour_is_open_starts_with_its_day(order_factory: Make) -> None:
    found = _attributes(order_factory(start="2026-07-06"))
    assert found["ScheduledProcedureStepStartDate"] == "20260706"
    assert found["ScheduledProcedureStepStartTime"] == "000000"


def test_an_order_without_a_day_starts_when_it_was_sent(order_factory: Make) -> None:
    order = replace(order_factory(start=""), sent_at=datetime(2026, 7, 6, 23, 30, tzinfo=UTC))
    assert _attributes(order)["ScheduledProcedureStepStartDate"] == "20260707"


def test_a_value_that_was_taken_back_is_unknown(order_factory: Make) -> None:
    order = order_factory()
    order = replace(order, attributes={**order.attributes, "PatientWeight": "", "OtherPatientIDs": ""})
    found = _attributes(order)
    assert "PatientWeight" not in found
    assert "OtherPatientIDs" not in found


def test_what_the_gateway_decided_wins_over_what_was_sent(order_factory: Make) -> None:
    order = order_factory(ScheduledStationAETitle="OLD", StudyInstanceUID="1.2.3", study_uid="1.2.4")
    found = _attributes(order)
    assert (found["ScheduledStationAETitle"], found["StudyInstanceUID"]) == ("US1", "1.2.4")


def test_keys_a_machine_cannot_do_without_have_a_value(order_factory: Make) -> None:
    found = _attributes(order_factory(accession="", station="", start="", description=""))
    for keyword in (
        "ScheduledStationAETitle", "ScheduledProcedureStepStartDate", "ScheduledProcedureStepStartTime",
        "Modality", "ScheduledProcedureStepID", "RequestedProcedureID", "StudyInstanceUID",
        "ScheduledProcedureStepDescription", "PatientName", "PatientID",
    ):  # fmt: skip
        assert found.get(keyword)


def test_values_of_several_parts_and_numbers_are_encoded_as_such(
    order_factory: Make, keys: Keys, asked: Ask
) -> None:
    order = order_factory(OtherPatientIDs="1\\2", PregnancyStatus="4", PatientComments="a\\b")
    wanted = asked(
        keys(OtherPatientIDs="", PregnancyStatus=None, PatientComments="", SmallestImagePixelValue=None)
    )
    found = answer(_attributes(order), wanted, order.id)
    assert list(found.OtherPatientIDs) == ["1", "2"]
    assert found.PregnancyStatus == 4
    assert found.PatientComments == "a\\b"
    assert "SmallestImagePixelValue" in found


def test_sequences_are_cut_to_the_keys_of_their_item(order_factory: Make, keys: Keys, asked: Ask) -> None:
    code = {"CodeValue": "1", "CodingSchemeDesignator": "L", "CodeMeaning": "Abdomen"}
    order = order_factory(RequestedProcedureCodeSequence=(code, {**code, "CodeValue": "2"}))
    some = keys(RequestedProcedureCodeSequence=[keys(CodeValue="", ContextUID="")])
    found = answer(_attributes(order), asked(some), order.id)
    assert [[element.keyword for element in item] for item in found.RequestedProcedureCodeSequence] == [
        ["CodeValue", "ContextUID"],
        ["CodeValue", "ContextUID"],
    ]
    whole = answer(_attributes(order), asked(keys(RequestedProcedureCodeSequence=[])), order.id)
    assert [item.CodeMeaning for item in whole.RequestedProcedureCodeSequence] == ["Abdomen", "Abdomen"]
    none = answer(
        _attributes(order), asked(keys(ReferencedStudySequence=[keys(ReferencedSOPClassUID="")])), order.id
    )
    assert list(none.ReferencedStudySequence) == []


@pytest.mark.parametrize(
    ("others", "expected"),
    [
        ({}, True),
        ({"PatientSex": Match(values=("F",))}, True),
        ({"PatientSex": Match(values=("M", "F"))}, True),
        ({"PatientSex": Match(values=("f",))}, False),
        ({"RequestedProcedureDescription": Match(values=("ABD*",), is_wild=True)}, False),
        ({"RequestedProcedureDescription": Match(values=("Abd*",), is_wild=True)}, True),
        ({"ReferringPhysicianName": Match(values=("*",), is_wild=True)}, False),
        ({"RequestedProcedureCodeSequence.CodeValue": Match(values=("1",))}, False),
    ],
)
def test_keys_without_a_column(others: dict[str, Match], expected: bool, order_factory: Make) -> None:
    assert agrees(_attributes(order_factory()), others) is expected
