"""The worklist over the wire, asked by a pynetdicom machine."""

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom.dimse_primitives import C_CANCEL

from gateway.dicom import identifier, worklist
from gateway.dicom.answering import MODALITY_WORKLIST
from gateway.dicom.identifier import Answer
from gateway.dicom.keys import Asked
from gateway.dicom.profiles import Profile
from gateway.dicom.server import DicomServer
from gateway.flow.ports import Ports
from gateway.model.ids import OrderId
from gateway.model.lifecycle import State
from gateway.model.order import Attributes, Order
from gateway.store import orders
from gateway.store.database import Database

Make = Callable[..., Order]
Keys = Callable[..., Dataset]

SAMSUNG_STEP = (
    "ScheduledStationAETitle", "ScheduledProcedureStepStartTime", "ScheduledPerformingPhysicianName",
    "ScheduledProcedureStepDescription", "ScheduledProtocolCodeSequence", "ScheduledProcedureStepID",
    "ScheduledStationName", "ScheduledProcedureStepLocation", "PreMedication", "ScheduledProcedureStepStatus",
    "CommentsOnTheScheduledProcedureStep",
)  # fmt: skip
SAMSUNG = (
    "AccessionNumber", "ReferringPhysicianName", "PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate",
    "PatientSex", "OtherPatientIDs", "PatientSize", "PatientWeight", "EthnicGroup", "AdditionalPatientHistory",
    "PregnancyStatus", "LastMenstrualDate", "PatientComments", "StudyInstanceUID", "RequestingPhysician",
    "RequestedProcedureDescription", "RequestedProcedureCodeSequence", "RequestedProcedureID",
    "RequestedProcedurePriority", "NamesOfIntendedRecipientsOfResults", "MedicalAlerts", "Allergies",
)  # fmt: skip


def _accessions(found: tuple[int, list[Dataset]]) -> list[str]:
    status, matches = found
    assert status == 0x0000
    return [str(match.AccessionNumber) for match in matches]


def _samsung(keys: Keys) -> Dataset:
    code = keys(CodeValue="", CodingSchemeDesignator="", CodingSchemeVersion="", CodeMeaning="")
    step: dict[str, Any] = dict.fromkeys(SAMSUNG_STEP)
    step |= {"Modality": "US", "ScheduledProcedureStepStartDate": "20261123"}
    step["ScheduledProtocolCodeSequence"] = [code]
    return keys(step=step, **dict.fromkeys(SAMSUNG))


def test_a_samsung_query_gets_every_key_it_asked(peer: Any, order_factory: Make, keys: Keys) -> None:
    order = order_factory(
        PatientWeight="61.5",
        PregnancyStatus="4",
        ScheduledProtocolCodeSequence=(
            {
                "CodeValue": "US01",
                "CodingSchemeDesignator": "L",
                "CodeMeaning": "Abdomen",
                "MappingResource": "X",
            },
        ),
    )
    asked = _samsung(keys)
    status, matches = peer.find(asked, syntaxes=[ImplicitVRLittleEndian])
    assert status == 0x0000
    (match,) = matches
    assert {element.keyword for element in match} == {*SAMSUNG, "ScheduledProcedureStepSequence"}
    (step,) = match.ScheduledProcedureStepSequence
    assert {element.keyword for element in step} == {
        *SAMSUNG_STEP,
        "Modality",
        "ScheduledProcedureStepStartDate",
    }
    assert (match.PatientName, match.PatientID, match.PatientBirthDate) == ("Doe^Jane", "MRN1", "19800214")
    assert (match.PatientWeight, match.PregnancyStatus) == (61.5, 4)
    assert match.StudyInstanceUID == order.study_uid
    assert (step.ScheduledProcedureStepStartDate, step.ScheduledProcedureStepStartTime) == (
        "20261123",
        "103000",
    )
    assert (step.ScheduledStationAETitle, step.ScheduledProcedureStepStatus) == ("US1", "SCHEDULED")
    (code,) = step.ScheduledProtocolCodeSequence
    assert {element.keyword: element.value for element in code} == {
        "CodeValue": "US01",
        "CodingSchemeDesignator": "L",
        "CodingSchemeVersion": "",
        "CodeMeaning": "Abdomen",
    }
    assert match.PatientComments in (None, "")


def test_only_sent_orders_answer(peer: Any, order_factory: Make, keys: Keys) -> None:
    for state in State:
        order_factory(accession=str(state), state=state)
    assert _accessions(peer.find(keys(AccessionNumber=""))) == ["sent"]


def test_started_orders_answer_where_the_site_wants_them(
    called: Any, order_factory: Make, keys: Keys, ports: Ports
) -> None:
    wider = replace(ports, listed=frozenset({State.SENT, State.STARTED}))
    server = DicomServer(wider, ae_title="X", bind="127.0.0.1", worklist_port=0, storage_port=0)
    server.start()
    try:
        order_factory(accession="going", state=State.STARTED)
        peer = replace(called("US1"), server=server)
        _, (match,) = peer.find(keys(step={"ScheduledProcedureStepStatus": ""}, AccessionNumber=""))
        assert match.ScheduledProcedureStepSequence[0].ScheduledProcedureStepStatus == "STARTED"
    finally:
        server.close()


KINDS: dict[str, tuple[dict[str, Any] | None, dict[str, Any]]] = {
    "single value": ({"Modality": "CT"}, {}),
    "multi-valued": ({"Modality": ["CT", "MR"]}, {}),
    "wildcard": (None, {"PatientID": "W*1?"}),
    "person name": (None, {"PatientName": "smith^john"}),
    "list of UID": (None, {"StudyInstanceUID": ["1.2.99", "1.2.100"]}),
    "date": ({"ScheduledProcedureStepStartDate": "20261201"}, {}),
    "date range": ({"ScheduledProcedureStepStartDate": "20261130-20261202"}, {}),
    "time range": ({"ScheduledProcedureStepStartTime": "1100-1200"}, {}),
    "station": ({"ScheduledStationAETitle": "CT1"}, {}),
    "status": ({"ScheduledProcedureStepStatus": "SCHEDULED", "Modality": "CT"}, {}),
    "no column": (None, {"RequestedProcedureDescription": "Head*"}),
    "no column, name": (None, {"ReferringPhysicianName": "HOUSE^*"}),
    "birth date": (None, {"PatientBirthDate": "19010203"}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_matching(kind: str, peer: Any, order_factory: Make, keys: Keys) -> None:
    order_factory(accession="other")
    order_factory(
        accession="this",
        modality="CT",
        station="CT1",
        patient_id="WAB19",
        name="Smith^John",
        birth_date="19010203",
        study_uid="1.2.99",
        start="2026-12-01T11:15:00+00:00",
        RequestedProcedureDescription="Head without contrast",
        ReferringPhysicianName="House^Gregory",
    )
    step, others = KINDS[kind]
    assert _accessions(peer.find(keys(step=step, **{"AccessionNumber": "", **others}))) == ["this"]


def test_a_code_matches_within_one_item(peer: Any, order_factory: Make, keys: Keys) -> None:
    def codes(*pairs: tuple[str, str]) -> Any:
        return tuple({"CodeValue": value, "CodingSchemeDesignator": scheme} for value, scheme in pairs)

    order_factory(accession="both", RequestedProcedureCodeSequence=codes(("1", "A"), ("2", "B")))
    order_factory(accession="crossed", RequestedProcedureCodeSequence=codes(("1", "B"), ("2", "A")))
    order_factory(accession="none")
    code = keys(CodeValue="1", CodingSchemeDesignator="A")
    asked = keys(AccessionNumber="", RequestedProcedureCodeSequence=[code])
    assert _accessions(peer.find(asked)) == ["both"]


def test_a_key_that_cannot_be_read_fails_the_query(peer: Any, order_factory: Make, keys: Keys) -> None:
    order_factory()
    assert peer.find(keys(step={"ScheduledProcedureStepStartDate": "2026-1-1"}, AccessionNumber="")) == (
        0xA900,
        [],
    )
    assert _accessions(peer.find(keys(AccessionNumber=""))) == ["A1"]


def test_a_store_that_does_not_answer_is_no_empty_list(
    peer: Any, order_factory: Make, keys: Keys, database: Database
) -> None:
    order_factory()
    with database.write() as tx:
        tx.connection.exec_driver_sql("ALTER TABLE orders RENAME TO elsewhere")
    assert peer.find(keys(AccessionNumber="")) == (0xA700, [])
    with database.write() as tx:
        tx.connection.exec_driver_sql("ALTER TABLE elsewhere RENAME TO orders")
    assert _accessions(peer.find(keys(AccessionNumber=""))) == ["A1"]


def test_a_value_that_cannot_be_said_is_left_empty_and_spoils_nothing(
    peer: Any, order_factory: Make, keys: Keys, caplog: pytest.LogCaptureFixture
) -> None:
    heavy = order_factory(accession="A1", PatientWeight="sixty")
    order_factory(accession="A2", PatientWeight="60", PregnancyStatus="70000")
    with caplog.at_level(logging.WARNING, "gateway"):
        status, matches = peer.find(keys(AccessionNumber="", PatientWeight="", PregnancyStatus=""))
    assert status == 0x0000
    assert [(match.AccessionNumber, match.PatientWeight) for match in matches] == [("A1", None), ("A2", 60)]
    left_out = [record for record in caplog.records if record.message == "worklist.value_left_out"]
    assert next((vars(record)["order"], vars(record)["keyword"]) for record in left_out) == (
        heavy.id,
        "PatientWeight",
    )
    assert "sixty" not in caplog.text


def test_cancel_ends_the_answers(
    peer: Any, order_factory: Make, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        order_factory(accession=f"A{number}")
    given: list[int] = []

    def answer_slowly(attributes: Attributes, asked: Asked, order_id: OrderId, profile: Profile) -> Answer:
        given.append(order_id)
        if len(given) == 2:
            assert _until(lambda: any(a.dimse.cancel_req for a in peer.server._entity.active_associations))
        return identifier.answer(attributes, asked, order_id, profile)

    monkeypatch.setattr(worklist, "answer", answer_slowly)
    with peer.associated() as association:
        replies = association.send_c_find(keys(AccessionNumber=""), MODALITY_WORKLIST, msg_id=7)
        next(replies)
        cancel = C_CANCEL()
        cancel.MessageIDBeingRespondedTo = 7
        context = next(c for c in association.accepted_contexts if c.abstract_syntax == MODALITY_WORKLIST)
        association.dimse.send_msg(cancel, context.context_id)
        assert [status.Status for status, _ in replies] == [0xFF00, 0xFE00]
    assert len(given) == 2


def _until(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 20
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()


TEXTS = {
    "Müller^Jörg": ([], "ISO_IR 100"),
    "Βέλλος^Γιώργος": ([], "ISO_IR 192"),
    "Jérôme^Zoë": (["ISO_IR 192"], "ISO_IR 192"),
    "Люкceмбypг": (["ISO_IR 144"], "ISO_IR 144"),
    "Yamada^Tarou=山田^太郎=やまだ^たろう": (["", "ISO 2022 IR 87"], ["", "ISO 2022 IR 87"]),
    "Hong^Gildong=洪^吉洞=홍^길동": (["", "ISO 2022 IR 149"], ["", "ISO 2022 IR 149"]),
    "Wang^XiaoDong=王^小东": (["GB18030"], "GB18030"),
    "王^小东": (["ISO_IR 100"], "ISO_IR 192"),
    "Doe^Jane": (["ISO_IR 192"], None),
}


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_names_of_all_scripts_come_back_in_a_set_the_asker_reads(
    syntax: str, peer: Any, order_factory: Make, keys: Keys
) -> None:
    for number, name in enumerate(TEXTS):
        order_factory(name=name, patient_id=f"P{number}")
    with peer.associated((MODALITY_WORKLIST, [syntax])) as association:
        for number, (name, (declared, expected)) in enumerate(TEXTS.items()):
            asked = keys(PatientName="", PatientID=f"P{number}", SpecificCharacterSet=declared or "")
            (match,) = [found for _, found in association.send_c_find(asked, MODALITY_WORKLIST) if found]
            assert match.get("SpecificCharacterSet") == expected
            assert str(match.PatientName) == name
            terms = match.get("SpecificCharacterSet") or ""
            asked = keys(PatientName=name, PatientID=f"P{number}", SpecificCharacterSet=terms)
            (match,) = [found for _, found in association.send_c_find(asked, MODALITY_WORKLIST) if found]
            assert str(match.PatientName) == name


def test_dates_times_and_zone_are_the_sites(peer: Any, order_factory: Make, keys: Keys) -> None:
    order_factory(start="2026-07-05T23:30:00+00:00")
    step = {"ScheduledProcedureStepStartDate": "", "ScheduledProcedureStepStartTime": ""}
    (match,) = peer.find(keys(step=step, TimezoneOffsetFromUTC=""))[1]
    (found,) = match.ScheduledProcedureStepSequence
    assert (found.ScheduledProcedureStepStartDate, found.ScheduledProcedureStepStartTime) == (
        "20260706",
        "003000",
    )
    assert match.TimezoneOffsetFromUTC == "+0100"
    (match,) = peer.find(keys(step=step))[1]
    assert "TimezoneOffsetFromUTC" not in match


def test_an_order_for_any_machine_is_said_to_be_for_the_one_that_asks(
    called: Any, order_factory: Make, keys: Keys
) -> None:
    order_factory(station="")
    (match,) = called("CARDIO").find(keys(step={"ScheduledStationAETitle": "CARDIO"}))[1]
    assert match.ScheduledProcedureStepSequence[0].ScheduledStationAETitle == "CARDIO"


def test_an_empty_key_item_asks_for_the_whole_item(peer: Any, order_factory: Make, keys: Keys) -> None:
    order_factory(ScheduledProcedureStepLocation="ROOM 3")
    (match,) = peer.find(keys(step={}, PatientName=""))[1]
    (step,) = match.ScheduledProcedureStepSequence
    assert step.ScheduledProcedureStepLocation == "ROOM 3"
    assert step.Modality == "US"
    assert "PatientName" not in step


def test_an_arrived_patient_shows(peer: Any, order_factory: Make, keys: Keys, ports: Ports) -> None:
    order = order_factory()
    with ports.database.write() as tx:
        orders.save(tx, replace(order, arrived_at=ports.clock()))
    (match,) = peer.find(keys(step={"ScheduledProcedureStepStatus": "ARRIVED"}))[1]
    assert match.ScheduledProcedureStepSequence[0].ScheduledProcedureStepStatus == "ARRIVED"


def test_nothing_of_a_patient_is_logged(
    peer: Any, order_factory: Make, keys: Keys, caplog: pytest.LogCaptureFixture
) -> None:
    order_factory(name="Verysecret^Name", patient_id="SECRET77")
    with caplog.at_level(logging.DEBUG):
        peer.server.close()
        peer.server.start()
        caplog.clear()
        with peer.associated() as association:
            request = keys(PatientName="Verysecret*", PatientID="")
            replies = list(association.send_c_find(request, MODALITY_WORKLIST))
    assert len(replies) == 2
    ours = [r.getMessage() for r in caplog.records]
    assert not any("secret" in message.lower() for message in ours)
