"""Messages that leave: golden files, hl7apy as the judge of their structure, our escaping."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hl7apy.consts import VALIDATION_LEVEL
from hl7apy.parser import parse_message, parse_segment

from gateway.hl7.client import encoded
from gateway.hl7.destination import Destination, Event, StudyUid
from gateway.hl7.news import announcer
from gateway.hl7.outbound import parts, patient, segment, text
from gateway.hl7.result_news import results
from gateway.model.delivery import Change, Outgoing
from gateway.model.er7 import Message, read_er7
from gateway.model.errors import Refused
from gateway.model.ids import (
    InstanceId,
    MessageId,
    OrderId,
    PatientRow,
    SeriesId,
    StudyId,
    Uid,
)
from gateway.model.lifecycle import State
from gateway.model.measurement import Circumstances, Code, Measurement, Report
from gateway.model.message import Keys, MessageState, Protocol
from gateway.model.message import Message as Kept
from gateway.model.order import ModuleRef, Order
from gateway.model.patient import Patient
from gateway.model.study import Instance, PictureState, Series, Study, StudyState

GOLDEN = Path(__file__).parent / "golden"
AT = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)
ALL = frozenset(Event)
RIS = Destination(
    name="ris", host="ris.example", port=2575, sources=frozenset({"ris"}), zone=ZoneInfo("Europe/London"),
    sender=("GATEWAY", "RAD"), receiver=("RIS", "GENHOSP"), events=ALL,
)  # fmt: skip
ORDERED = (
    "MSH|^~\\&|EPIC|GENHOSP|GW|RAD|20261123080000||ORM^O01|M1|P|2.5.1\r"
    "PID|1||A998^^^REGION^PI~MRN1^^^GENHOSP&1.2.3&ISO^MR||Doe^Jane^Q^Jr^Dr||19800214|F\r"
    "ORC|NW|OTHER^EPIC|F0^RIS\rOBR|1|OTHER^EPIC|F0^RIS|XX^other^L\r"
    "ORC|NW|P1^EPIC|F1^RIS^1.9^ISO||SC||||20261123\r"
    "OBR|1|P1^EPIC|F1^RIS^1.9^ISO|71046^CHEST \\T\\ MORE^C4||||||||||||7654^HOUSE^GREG||A1|RP1|S1||||US\r"
)
LENGTH = Code(value="11820-8", scheme="LN", meaning="Femur Length")
MM = Code(value="mm", scheme="UCUM", meaning="millimeter")


def kept(raw: str, number: int = 7, protocol: Protocol = Protocol.HL7V2) -> Kept:
    return Kept(
        id=MessageId(number), protocol=protocol, source="ris", peer="", received_at=AT, raw=raw.encode(), keys=Keys(),
        state=MessageState.MAPPED, reason="", answer=b"", module="", accession="", patient_id="", placer="",
        filler="",
    )  # fmt: skip


ORDER = Order(
    id=OrderId(12), source="ris", patient_row=PatientRow(1),
    patient=Patient(patient_id="MRN1", issuer="GENHOSP", name="Doe^Jane^Q^Dr^Jr", birth_date="19800214", sex="F"),
    accession="A1", placer="P1", filler="F1", procedure_id="RP1", step_id="S1", study_uid=Uid("2.25.77"),
    state=State.STARTED, modality="US", station="US1", start=None, has_time=False, description="Chest & more",
    priority="", referring="", attributes={}, faults=(), service_request="", subject="",
    module=ModuleRef(name="m", version="1"), message_id=MessageId(7), arrived_at=None, sent_at=None, sent_by="",
    created_at=AT, updated_at=AT, version=1,
)  # fmt: skip


VERIFIED = Report(sop_uid="1.2.3", is_complete=True, is_verified=True, is_preliminary=False)
DONE = replace(ORDER, state=State.COMPLETED)


def measured(
    value: str,
    path: str = "1.3.1",
    name: Code = LENGTH,
    unit: Code | None = MM,
    context: tuple[str, ...] = (),
    **said: Any,
) -> Measurement:
    circumstances = Circumstances(**{"report": VERIFIED, **said})
    return Measurement(
        name=name, value=value, unit=unit, context=context, path=path, circumstances=circumstances
    )


def study(*found: Measurement) -> Study:
    image = Instance(
        id=InstanceId(1), sop_uid=Uid("1.2.3.1"), sop_class=Uid("1.2"), transfer_syntax=Uid("1.2"), number="1",
        frames=1, path="", size=1, sha256="", picture=PictureState.READY, thumbnail="", received_at=AT,
    )  # fmt: skip
    series = Series(
        id=SeriesId(1),
        series_uid=Uid("1.2.3"),
        modality="US",
        number="1",
        description="",
        instances=(image, image),
    )
    return Study(
        id=StudyId(3), study_uid=Uid("2.25.77"), order_id=OrderId(12), state=StudyState.COMPLETE, accession="A1",
        patient_id="MRN1", issuer="", patient_name="", birth_date="", sex="", study_id="", started=AT, study_date="",
        description="", calling_ae="US1", doubt="", first_at=AT, last_at=AT, completed_at=AT, series=(series,),
        measurements=found,
    )  # fmt: skip


def told(
    destination: Destination = RIS,
    action: str = "order.start",
    *,
    order: Order = ORDER,
    evidence: str = "study:3",
    messages: tuple[Kept, ...] = (kept(ORDERED),),
    found: Study | None = None,
    orders: tuple[Order, ...] = (),
) -> tuple[Outgoing, ...]:
    numbers = iter(range(100, 200))
    announce = announcer((destination,), lambda: f"C{next(numbers)}", {})
    return announce(
        Change(
            order=order,
            action=action,
            evidence=evidence,
            at=AT,
            messages=lambda: messages,
            study=found,
            orders=orders,
        )
    )


def results_of(*found: Measurement, destination: Destination = RIS) -> Outgoing:
    (one,) = told(destination, "study.complete", order=DONE, found=study(*found), orders=(DONE,))
    return one


def read(outgoing: Outgoing) -> Message:
    return read_er7(outgoing.payload.decode())


SPREAD = (
    measured("32.50", "1.3.1.2", context=("OB-GYN Ultrasound", "Fetus A")),
    measured("33.1", "1.3.1.3", context=("OB-GYN Ultrasound", "Fetus A")),
    measured("31.0", "1.4.1.2", context=("OB-GYN Ultrasound", "Fetus B")),
    measured("0.70", "1.5", Code(value="99-1", scheme="99ACME", meaning="Index | of ^ things"), unit=None),
)


@pytest.mark.parametrize("version", ["2.3.1", "2.4", "2.5.1"])
@pytest.mark.parametrize("kind", ["ORM^O01", "OMG^O19", "ORU^R01"])
def test_each_message_is_as_the_golden_file_has_it(kind: str, version: str) -> None:
    if (kind, version) == ("OMG^O19", "2.3.1"):
        pytest.skip("OMG^O19 came with version 2.4")
    if kind == "ORU^R01":
        out = results_of(*SPREAD, destination=replace(RIS, version=version))
    else:
        (out,) = told(replace(RIS, version=version, order_message=kind))
    golden = GOLDEN / f"{kind.replace('^', '_')}-{version}.hl7"
    assert out.payload.decode().replace("\r", "\n") == golden.read_text(encoding="utf-8")
    _judge(out, kind, version)


def _judge(out: Outgoing, kind: str, version: str) -> None:
    """hl7apy takes the message whole, and each segment strictly.

    It refuses every ORM^O01 there is as a whole, because it reads the choice of ORM_O01 as a sequence.
    """
    wire = out.payload.decode()
    if kind != "ORM^O01":
        parsed = parse_message(wire, validation_level=VALIDATION_LEVEL.TOLERANT, force_validation=True)
        assert sorted(parsed.to_er7().split("\r")) == sorted(wire.rstrip("\r").split("\r"))
    for one in wire.rstrip("\r").split("\r"):
        if not one.startswith("Z"):
            strict = parse_segment(one, version=version, validation_level=VALIDATION_LEVEL.STRICT)
            assert strict.validate()


@pytest.mark.parametrize(
    ("action", "status"),
    [
        ("order.send", "SC"),
        ("order.arrive", "AR"),
        ("order.start", "IP"),
        ("order.complete", "CM"),
        ("order.cancel", "CA"),
        ("order.discontinue", "DC"),
    ],
)
def test_each_event_has_its_order_status(action: str, status: str) -> None:
    (out,) = told(action=action, evidence="by hand")
    (orc,) = read(out).named("ORC")
    assert (orc.value(1), orc.value(5), out.kind) == ("SC", status, f"ORM^O01 {status}")
    assert (out.key, out.in_turn, out.order_id) == ("order:12", True, OrderId(12))


@pytest.mark.parametrize("action", ["order.hold", "order.recall", "order.change", "order.expire"])
def test_what_no_event_names_is_not_told(action: str) -> None:
    assert told(action=action) == ()


def test_the_sender_knows_its_order_again() -> None:
    (out,) = told()
    message = read(out)
    (orc,), (obr,), (pid,) = message.named("ORC"), message.named("OBR"), message.named("PID")
    assert (orc.raw(2), orc.raw(3)) == ("P1^EPIC", "F1^RIS^1.9^ISO")
    assert (obr.raw(2), obr.raw(3), obr.raw(18), obr.raw(19)) == ("P1^EPIC", "F1^RIS^1.9^ISO", "A1", "RP1")
    assert obr.value(4, 2) == "CHEST & MORE"
    assert pid.raw(3) == "MRN1^^^GENHOSP&1.2.3&ISO^MR"
    assert [pid.value(5, n) for n in range(1, 6)] == ["Doe", "Jane", "Q", "Jr", "Dr"]


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ("MRN1^^^OTHERCLINIC^PI~MRN1^^^GENHOSP^MR", "MRN1^^^GENHOSP^MR"),
        ("MRN1^^^OTHERCLINIC^PI~MRN1^^^X&GENHOSP&L^MR", "MRN1^^^X&GENHOSP&L^MR"),
        ("MRN1^^^OTHERCLINIC^PI~MRN1^^^THIRD^MR", "MRN1^^^GENHOSP"),
        ("MRN1~MRN1^^^OTHERCLINIC^PI", "MRN1^^^GENHOSP"),
        ("MRN2^^^GENHOSP^MR~MRN1^^^RENAMED^MR", "MRN1^^^RENAMED^MR"),
        ("MRN1~MRN1", "MRN1"),
    ],
)
def test_the_patients_identifier_is_that_of_his_own_authority(written: str, sent: str) -> None:
    raw = ORDERED.replace("A998^^^REGION^PI~MRN1^^^GENHOSP&1.2.3&ISO^MR", written)
    (out,) = told(messages=(kept(raw),))
    assert [one.raw(3) for one in read(out).named("PID")] == [sent]


def test_an_older_message_with_the_patients_own_authority_counts_more_than_a_newer_one() -> None:
    newer = ORDERED.replace("A998^^^REGION^PI~MRN1^^^GENHOSP&1.2.3&ISO^MR", "MRN1^^^OTHERCLINIC^PI")
    (out,) = told(messages=(kept(newer, 9), kept(ORDERED)))
    assert [one.raw(3) for one in read(out).named("PID")] == ["MRN1^^^GENHOSP&1.2.3&ISO^MR"]


def test_an_identifier_without_issuer_is_the_one_that_names_none() -> None:
    raw = ORDERED.replace("A998^^^REGION^PI~MRN1^^^GENHOSP&1.2.3&ISO^MR", "MRN1^^^OTHERCLINIC^PI~MRN1^^^^MR")
    (out,) = told(order=replace(ORDER, patient=replace(ORDER.patient, issuer="")), messages=(kept(raw),))
    assert [one.raw(3) for one in read(out).named("PID")] == ["MRN1^^^^MR"]


def test_an_accession_in_the_filler_field_is_not_put_anywhere_else() -> None:
    raw = "MSH|^~\\&|A\rORC|NW|P1|A1\rOBR|1|P1|A1|X^Y^L\r"
    (out,) = told(order=replace(ORDER, filler="A1"), messages=(kept(raw),))
    (obr,) = read(out).named("OBR")
    assert (obr.value(3), obr.value(18)) == ("A1", "")


def test_what_a_later_message_leaves_out_is_taken_from_the_earlier_one() -> None:
    cancel = "MSH*:~\\&*A\rORC*CA*P1*F1:NEW\r"
    (out,) = told(messages=(kept(cancel, 9), kept(ORDERED)))
    (orc,), (obr,) = read(out).named("ORC"), read(out).named("OBR")
    assert (orc.raw(2), orc.raw(3), obr.value(4)) == ("P1", "F1^NEW", "71046")


def test_an_order_that_came_by_fhir_is_told_with_its_numbers() -> None:
    order = replace(
        ORDER,
        attributes={
            "RequestedProcedureCodeSequence": (
                {"CodeValue": "45036003", "CodingSchemeDesignator": "SCT", "CodeMeaning": "US abdomen"},
            )
        },
    )
    (out,) = told(order=order, messages=(kept("{}", protocol=Protocol.FHIR),))
    (obr,), (pid,) = read(out).named("OBR"), read(out).named("PID")
    assert (obr.raw(4), obr.raw(18), obr.raw(2)) == ("45036003^US abdomen^SCT", "A1", "P1")
    assert pid.raw(3) == "MRN1^^^GENHOSP"


def test_nobody_is_told_what_his_own_message_asked_for() -> None:
    assert told(action="order.cancel", evidence="message:7") == ()
    assert len(told(replace(RIS, echo=True), "order.cancel", evidence="message:7")) == 1
    assert len(told(action="order.cancel", evidence="by hand")) == 1


def test_what_another_system_asked_for_is_told() -> None:
    revoked = kept("{}", 9, Protocol.FHIR)
    (out,) = told(action="order.cancel", evidence="message:9", messages=(revoked, kept(ORDERED)))
    assert out.kind == "ORM^O01 CA"


def test_nobody_is_told_of_orders_or_events_he_did_not_ask_for() -> None:
    assert told(order=replace(ORDER, source="other")) == ()
    assert told(replace(RIS, events=frozenset({Event.RESULTS}))) == ()


def test_the_study_uid_stands_in_zds_or_obx() -> None:
    (zds,) = (one for out in told() for one in read(out).named("ZDS"))
    assert zds.raw(1) == "2.25.77^^Application^DICOM"
    (out,) = told(replace(RIS, study_uid=StudyUid.OBX))
    (obx,) = read(out).named("OBX")
    assert (obx.raw(2), obx.raw(3), obx.raw(5), obx.raw(11)) == (
        "ST",
        "113014^DICOM Study^DCM",
        "2.25.77",
        "O",
    )


def test_a_measurement_leaves_as_the_report_has_it() -> None:
    _, _, obx = read(results_of(measured("12.50"))).named("OBX")
    assert (obx.raw(2), obx.raw(5)) == ("NM", "12.50")
    assert (obx.raw(3), obx.raw(6), obx.raw(11)) == ("11820-8^Femur Length^LN", "mm^millimeter^UCUM", "F")


def test_a_study_without_measurements_is_told_with_its_uid_and_its_images() -> None:
    uid, count = read(results_of()).named("OBX")
    assert (uid.raw(5), count.raw(5)) == ("2.25.77", "2")


def test_results_can_be_preliminary() -> None:
    message = read(results_of(measured("1"), destination=replace(RIS, result_status="P")))
    assert [one.raw(25) for one in message.named("OBR")] == ["P"]
    assert [one.raw(11) for one in message.named("OBX")] == ["O", "F", "P"]


@pytest.mark.parametrize(
    ("report", "status"),
    [
        (VERIFIED, "F"),
        (replace(VERIFIED, is_verified=False), "P"),
        (replace(VERIFIED, is_complete=False), "P"),
        (replace(VERIFIED, is_preliminary=True), "P"),
        (None, "P"),
    ],
)
def test_a_number_is_final_only_when_somebody_answers_for_it(report: Report | None, status: str) -> None:
    message = read(results_of(measured("1"), measured("2", "1.3.2", report=report)))
    assert [one.raw(11) for one in message.named("OBX")][2:] == ["F", status]
    assert [one.raw(25) for one in message.named("OBR")] == [status]
    never = read(results_of(measured("1", report=report), destination=replace(RIS, result_status="P")))
    assert [one.raw(11) for one in never.named("OBX")][2:] == ["P"]


def test_the_number_of_a_replaced_report_is_not_told() -> None:
    newer = replace(VERIFIED, sop_uid="1.2.4", replaces=("1.2.3",))
    message = read(results_of(measured("52.1"), measured("25.1", report=newer)))
    assert [one.raw(5) for one in message.named("OBX")][2:] == ["25.1"]


def test_of_several_numbers_of_one_thing_the_mean_is_told() -> None:
    mean = (
        Code(value="121401", scheme="DCM", meaning="Derivation"),
        Code(value="R-00317", scheme="SRT", meaning="Mean"),
    )
    told = results((measured("10"), measured("12", "1.3.2"), measured("11", "1.3.3", modifiers=(mean,))))
    assert [one.measurement.value for one in told] == ["11"]


def test_twins_and_sides_are_told_apart() -> None:
    side = Code(value="272741003", scheme="SCT", meaning="Laterality")
    left, right = (
        (side, Code(value=value, scheme="SCT", meaning=meaning))
        for value, meaning in (("7771000", "Left"), ("24028007", "Right"))
    )
    message = read(
        results_of(
            measured("52", context=("OB", "Biometry"), subject="A"),
            measured("49", context=("OB", "Biometry"), subject="B"),
            measured("101", modifiers=(left,)),
            measured("99", modifiers=(right,)),
        )
    )
    assert [one.value(3) for one in message.named("NTE")] == [
        "OB > Biometry; Fetus ID: A",
        "OB > Biometry; Fetus ID: B",
        "Laterality: Left",
        "Laterality: Right",
    ]
    assert [one.raw(4) for one in message.named("OBX")][2:] == ["1.1", "2.1", "3.1", "4.1"]


def test_no_two_numbers_collide() -> None:
    found = results((*SPREAD, *SPREAD))
    assert len({(one.measurement.name, one.sub_id) for one in found}) == len(found) == 8
    assert [one.sub_id for one in results(SPREAD)] == ["1.1", "1.2", "2.1", "3.1"]


def test_what_was_not_measured_or_has_no_name_is_not_told() -> None:
    nameless = measured("3", name=Code(value="", scheme="", meaning=""))
    assert results((measured(""), nameless)) == ()


@pytest.mark.parametrize(
    ("value", "kind", "sent"),
    [("1.50E1", "NM", "15.0"), ("25e-4", "NM", "0.0025"), ("1e900", "ST", "1e900"), ("-0.70", "NM", "-0.70")],
)
def test_an_exponent_is_written_out_where_that_is_short(value: str, kind: str, sent: str) -> None:
    _, _, obx = read(results_of(measured(value))).named("OBX")
    assert (obx.raw(2), obx.raw(5)) == (kind, sent)


def test_a_study_for_two_orders_names_both_and_the_numbers_once() -> None:
    both = ORDERED.replace("OTHER", "P2").replace("F0", "F2")
    second = replace(ORDER, id=OrderId(13), placer="P2", filler="F2", accession="A2")
    found = study(measured("1"))
    (out,) = told(
        action="study.complete", found=found, orders=(second, ORDER), messages=(kept(both),), order=ORDER
    )
    assert [one.value(2) for one in read(out).named("OBR")] == ["P1", "P2"]
    assert [one.raw(3)[:6] for one in read(out).named("OBX")] == [
        "113014",
        "002012",
        "11820-",
        "113014",
        "002012",
    ]


@pytest.mark.parametrize(
    ("state", "status"),
    [
        (State.COMPLETED, "CM"),
        (State.DISCONTINUED, "DC"),
        (State.SENT, "SC"),
        (State.STARTED, "IP"),
        (State.HELD, "IP"),
    ],
)
def test_results_say_of_each_order_where_it_stands(state: State, status: str) -> None:
    second = replace(ORDER, id=OrderId(13), placer="P2", filler="F2", accession="A2", state=state)
    (out,) = told(action="study.complete", order=DONE, found=study(), orders=(DONE, second))
    assert [(one.value(2), one.value(5)) for one in read(out).named("ORC")] == [("P1", "CM"), ("P2", status)]


def test_results_name_no_order_that_was_taken_back_beside_one_that_stands() -> None:
    gone = replace(ORDER, id=OrderId(13), placer="P2", filler="F2", accession="A2", state=State.CANCELLED)
    (out,) = told(action="study.complete", order=DONE, found=study(), orders=(DONE, gone))
    assert [(one.value(2), one.value(5)) for one in read(out).named("ORC")] == [("P1", "CM")]
    (alone,) = told(action="study.complete", order=gone, found=study(), orders=(gone,))
    assert [(one.value(2), one.value(5)) for one in read(alone).named("ORC")] == [("P2", "CA")]


def test_steps_of_one_order_are_done_when_one_is() -> None:
    other = replace(DONE, id=OrderId(13), step_id="S2")
    given_up = replace(ORDER, state=State.DISCONTINUED)
    (out,) = told(action="study.complete", order=given_up, found=study(), orders=(given_up, other))
    assert [one.value(5) for one in read(out).named("ORC")] == ["CM"]


def test_hostile_text_stays_inside_its_field() -> None:
    assert text("a|b^c&d~e\\f\rg\x1c\x0b") == "a\\F\\b\\S\\c\\T\\d\\R\\e\\E\\f\\.br\\g  "
    hostile = Patient(patient_id="1|2", issuer="", name="A|B&C^D~E", birth_date="", sex="")
    pid = read_er7("MSH|^~\\&|\r" + patient(hostile, "", "2.5.1")).segments[1]
    assert (pid.value(3), pid.value(5, 1), pid.value(5, 2)) == ("1|2", "A|B&C", "D~E")


def test_a_name_in_several_scripts_is_told_in_each() -> None:
    japanese = Patient(patient_id="1", issuer="", name="Yamada^Tarou=山田^太郎", birth_date="", sex="")
    pid = read_er7("MSH|^~\\&|\r" + patient(japanese, "", "2.5.1")).segments[1]
    assert pid.raw(5) == "Yamada^Tarou^^^^^L^A~山田^太郎^^^^^L^I"


def test_what_the_version_does_not_know_is_left_out() -> None:
    assert segment("ORC", "2.3.1", {1: "SC", 25: "x"}) == "ORC|SC"
    assert segment("ORC", "2.5.1", {1: "SC", 2: "a~b"}) == "ORC|SC|a"
    assert parts("a", "", "") == "a"


def test_the_character_set_is_that_of_the_destination() -> None:
    (out,) = told(order=replace(ORDER, patient=replace(ORDER.patient, name="Müller^Zoë")))
    control_id, raw = encoded(out.payload, "8859/1")
    assert control_id == "C100"
    assert b"M\xfcller" in raw
    assert raw.split(b"\r")[0].endswith(b"|8859/1")


def test_a_character_the_set_lacks_is_refused_and_its_field_named() -> None:
    (out,) = told(order=replace(ORDER, patient=replace(ORDER.patient, name="山田")))
    with pytest.raises(Refused, match=r"^PID-5: a character is not in 8859/1") as caught:
        encoded(out.payload, "8859/1")
    assert "山" not in str(caught.value)
    assert encoded(out.payload, "UNICODE UTF-8")[0] == "C100"
