import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from gateway.fhir import imaging_study
from gateway.fhir.conformity import faults
from gateway.fhir.destination import Destination, Instances
from gateway.fhir.imaging_study import identifier_of
from gateway.fhir.news import outgoing
from gateway.model.measurement import Code
from gateway.model.order import Order
from gateway.model.study import SeriesFacts, Study, StudyFacts

LONDON = ZoneInfo("Europe/London")
EHR = Destination(name="ehr", url="https://ehr.example/fhir")
R5 = replace(EHR, release="R5")


def render(
    study: Study, orders: tuple[Order, ...], *, zone: ZoneInfo = LONDON, to: Destination = EHR
) -> dict[str, Any]:
    """The study for a destination, checked."""
    found = imaging_study.render(study, orders, to, zone)
    assert faults(found, to.release) == ()
    return found


def _study_in(payload: bytes) -> Any:
    (resource,) = [one["resource"] for one in json.loads(payload)["entry"]]
    return resource


@pytest.fixture
def order(order_factory: Any) -> Order:
    made = order_factory(
        accession="A1",
        source="ehr",
        service_request="ServiceRequest/9",
        subject="Patient/7",
        issuer="GENHOSP",
    )
    assert isinstance(made, Order)
    return made


def test_references_of_another_server_are_left_out(single: Study, order: Order) -> None:
    (there, elsewhere, named) = outgoing(
        single,
        (order,),
        (
            Destination(name="ehr", url="https://ehr.example/fhir"),
            Destination(name="vna", url="https://vna.example/fhir"),
            Destination(name="copy", url="https://ehr.example/fhir", sources=frozenset({"ehr"})),
        ),
        LONDON,
    )
    assert (there.destination, there.kind, there.key) == ("ehr", "ImagingStudy", single.study_uid)
    assert there.order_id == single.order_id
    assert _study_in(there.payload)["subject"]["reference"] == "Patient/7"
    assert there.payload == named.payload
    study = _study_in(elsewhere.payload)
    assert study["subject"]["identifier"]["value"] == "MRN1"
    assert study["basedOn"][0]["identifier"]["value"] == "A1"
    assert "reference" not in json.dumps(study)


def test_a_patients_name_never_leaves(single: Study, order: Order) -> None:
    (news,) = outgoing(single, (order,), (Destination(name="x", url="https://x"),), LONDON)
    assert b"Doe" not in news.payload
    assert b"Jane" not in news.payload


@pytest.mark.parametrize(
    ("issuer", "expected"),
    [
        ("", {}),
        ("GENHOSP", {"assigner": {"display": "GENHOSP"}}),
        ("1.2.3", {"system": "urn:oid:1.2.3"}),
        ("https://mrn.example", {"system": "https://mrn.example"}),
    ],
)
def test_an_issuer_is_a_system_only_when_it_can_be(
    single: Study, issuer: str, expected: dict[str, Any]
) -> None:
    identifier = render(replace(single, issuer=issuer), (), zone=LONDON)["subject"]["identifier"]
    assert {k: identifier[k] for k in ("system", "assigner") if k in identifier} == expected


def test_an_unknown_patient_is_said_to_be_unknown(single: Study) -> None:
    study = render(replace(single, patient_id=""), (), zone=LONDON)
    assert study["subject"]["extension"][0]["valueCode"] == "unknown"


@pytest.mark.parametrize(
    ("started", "study_date", "expected"),
    [
        (datetime(2026, 1, 23, 9, 30, tzinfo=UTC), "20260123", "2026-01-23T09:30:00+00:00"),
        (datetime(2026, 6, 23, 9, 30, 1, 5999, tzinfo=UTC), "20260623", "2026-06-23T10:30:01.005+01:00"),
        (datetime(1800, 6, 23, 9, 30, tzinfo=UTC), "18000623", "1800-06-23T09:30:00+00:00"),
        (datetime(9999, 12, 31, 23, 59, tzinfo=UTC), "99991231", "9999-12-31T23:59:00+00:00"),
        (None, "20260623", "2026-06-23"),
        (None, "2026.06.23", "2026-06-23"),
        (None, "20260231", None),
        (None, "2026", None),
        (None, "yesterday", None),
        (None, "", None),
    ],
)
def test_the_start_is_written_as_precisely_as_it_is_known(
    single: Study, started: datetime | None, study_date: str, expected: str | None
) -> None:
    study = render(replace(single, started=started, study_date=study_date), (), zone=LONDON)
    assert study.get("started") == expected


def test_before_zones_were_agreed_on_the_start_is_in_utc(single: Study) -> None:
    early = replace(single, started=datetime(1901, 6, 23, 9, 30, tzinfo=UTC))
    study = render(early, (), zone=ZoneInfo("Africa/Monrovia"))
    assert study["started"] == "1901-06-23T09:30:00+00:00"


def test_reports_count_as_modality_only_when_alone(several: Study) -> None:
    assert [coding["code"] for coding in render(several, (), zone=LONDON)["modality"]] == ["CT"]
    report = replace(several, series=several.series[:1])
    assert [coding["code"] for coding in render(report, (), zone=LONDON)["modality"]] == ["SR"]


def test_a_series_without_modality_has_an_unknown_one(single: Study) -> None:
    study = render(replace(single, series=(replace(single.series[0], modality=""),)), (), zone=LONDON)
    assert study["series"][0]["modality"]["code"] == "UNK"
    assert "modality" not in study


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        ("1", 1),
        (" +7 ", 7),
        ("0", 0),
        ("-1", None),
        ("", None),
        ("x", None),
        ("1.5", None),
        ("9999999999", None),
    ],
)
def test_a_number_is_left_out_when_fhir_cannot_hold_it(
    single: Study, number: str, expected: int | None
) -> None:
    study = render(replace(single, series=(replace(single.series[0], number=number),)), (), zone=LONDON)
    assert study["series"][0].get("number") == expected


@pytest.mark.parametrize(
    ("instances", "count", "is_listed"),
    [("limited", 2000, True), ("limited", 2001, False), ("all", 2001, True), ("none", 1, False)],
)
def test_instances_are_listed_as_wanted_and_counted_always(
    single: Study, instances: str, count: int, is_listed: bool
) -> None:
    (series,) = single.series
    study = replace(single, series=(replace(series, instances=series.instances * count),))
    rendered = imaging_study.render(study, (), replace(EHR, instances=Instances(instances)), LONDON)
    assert (rendered["numberOfInstances"], rendered["series"][0]["numberOfInstances"]) == (count, count)
    assert ("instance" in rendered["series"][0]) is is_listed


def test_the_orders_accession_number_wins_over_the_machines(single: Study, order: Order) -> None:
    study = render(replace(single, accession="TYPED"), (order,), zone=LONDON)
    assert [i["value"] for i in study["identifier"]] == [f"urn:oid:{single.study_uid}", "A1"]


def test_two_steps_of_one_order_are_named_once(single: Study, order: Order) -> None:
    study = render(single, (order, replace(order, step_id="2")), zone=LONDON)
    assert len(study["basedOn"]) == 1


def test_an_order_with_a_placer_number_alone_is_named_by_it(single: Study, order: Order) -> None:
    bare = replace(order, accession="", placer="P1", service_request="")
    (based_on,) = render(single, (bare,), zone=LONDON)["basedOn"]
    assert based_on["identifier"]["type"]["coding"][0]["code"] == "PLAC"
    assert based_on["identifier"]["value"] == "P1"
    assert "basedOn" not in render(single, (replace(bare, placer=""),), zone=LONDON)


def test_text_that_fhir_forbids_does_not_reach_it(single: Study) -> None:
    study = render(replace(single, description=" \t\0\ud800 "), (), zone=LONDON)
    assert "description" not in study
    assert render(replace(single, description="a\0b"), (), zone=LONDON)["description"] == "a b"


def test_what_breaks_the_rules_leaves_without_its_faulty_parts(
    single: Study, caplog: pytest.LogCaptureFixture
) -> None:
    series = (replace(single.series[0], series_uid=type(single.study_uid)("not/an/id")),)
    (news,) = outgoing(replace(single, series=series), (), (EHR,), LONDON)
    told = _study_in(news.payload)
    assert "series" not in told
    assert (told["status"], told["numberOfSeries"]) == ("available", 1)
    assert faults(told, "R4") == ()
    assert [record.message for record in caplog.records] == ["fhir.invalid"]


def test_the_token_needs_no_further_encoding() -> None:
    assert identifier_of("1.2.3") == "urn:dicom:uid%7Curn:oid:1.2.3"


def test_the_start_is_in_the_zone_that_the_images_name(single: Study) -> None:
    study = replace(single, facts=StudyFacts(zone_offset="-0500"))
    assert render(study, ())["started"] == "2026-06-23T04:30:15.250-05:00"
    odd = replace(single, facts=StudyFacts(zone_offset="+2300"))
    assert render(odd, ())["started"] == "2026-06-23T09:30:15.250+00:00"


@pytest.mark.parametrize(
    ("issuer", "expected"),
    [("1.2.3", {"system": "urn:oid:1.2.3"}), ("RIS", {"assigner": {"display": "RIS"}}), ("", {})],
)
def test_an_accession_number_has_its_issuer(
    single: Study, order: Order, issuer: str, expected: dict[str, Any]
) -> None:
    by_machine = render(replace(single, facts=StudyFacts(accession_issuer=issuer)), ())
    item = {"UniversalEntityID": issuer}
    attributes = {**order.attributes, "IssuerOfAccessionNumberSequence": (item,)}
    by_order = render(single, (replace(order, attributes=attributes),))
    for study in (by_machine, by_order):
        assert {k: v for k, v in study["identifier"][1].items() if k in ("system", "assigner")} == expected
    assert expected.items() <= by_order["basedOn"][0]["identifier"].items()


def test_the_order_gives_the_visit_the_reason_the_procedure_and_who_asked(
    single: Study, order: Order
) -> None:
    coded = {"CodeValue": "45036003", "CodingSchemeDesignator": "SCT", "CodeMeaning": "US abdomen"}
    local = {"CodeValue": "USABD", "CodingSchemeDesignator": "99LOC", "CodeMeaning": "Ultrasound, abdomen"}
    attributes = {
        **order.attributes,
        "AdmissionID": "V77",
        "ReasonForTheRequestedProcedure": "pain",
        "RequestedProcedureCodeSequence": (coded, local),
    }
    known = replace(order, attributes=attributes, referring="Who^Anna^^Dr")
    study = render(single, (known,))
    assert study["encounter"]["identifier"]["value"] == "V77"
    assert study["referrer"] == {"type": "Practitioner", "display": "Dr Anna Who"}
    assert study["reasonCode"] == [{"text": "pain"}]
    assert study["procedureCode"][0]["coding"][0]["system"] == "http://snomed.info/sct"
    assert study["procedureCode"][1] == {"text": "Ultrasound, abdomen"}
    later = render(single, (known,), to=R5)
    assert later["reason"] == [{"concept": {"text": "pain"}}]
    assert [one["concept"] for one in later["procedure"]] == study["procedureCode"]
    assert not later.keys() & {"reasonCode", "procedureCode"}


def test_two_visits_are_none(single: Study, order: Order) -> None:
    one, other = (replace(order, attributes={**order.attributes, "AdmissionID": n}) for n in ("V1", "V2"))
    assert "encounter" not in render(single, (one, other))


def test_a_visit_of_the_servers_own_is_named_by_its_address(single: Study, order: Order) -> None:
    attributes = {**order.attributes, "AdmissionID": "V77"}
    ours = replace(order, attributes=attributes, encounter="Encounter/3")
    visit = render(single, (ours,))["encounter"]
    assert (visit["reference"], visit["identifier"]["value"]) == ("Encounter/3", "V77")
    elsewhere = replace(ours, source="ris")
    assert "reference" not in render(single, (elsewhere,))["encounter"]
    another = replace(ours, encounter="Encounter/4")
    assert "reference" not in render(single, (ours, another))["encounter"]
    made_here = replace(ours, encounter="Encounter/gw-1")
    assert "reference" not in render(single, (made_here,))["encounter"]


def test_a_series_tells_what_was_examined_by_whom_and_when(single: Study) -> None:
    facts = SeriesFacts(
        date="20260623", time="103020.5", zone_offset="", body_part="Thyroid ", laterality="R",
        performing="Who^Anna", operators="Tech^Tom\\Tech^Tina", station="ROOM1",
    )  # fmt: skip
    study = replace(single, series=(replace(single.series[0], facts=facts),))
    (series,) = render(study, ())["series"]
    assert series["started"] == "2026-06-23T10:30:20+01:00"
    assert (series["bodySite"]["code"], series["laterality"]["code"]) == ("69748006", "24028007")
    assert [one["actor"]["display"] for one in series["performer"]] == [
        "Anna Who",
        "Tom Tech",
        "Tina Tech",
        "ROOM1",
    ]
    (later,) = render(study, (), to=R5)["series"]
    assert later["bodySite"]["concept"]["coding"] == [series["bodySite"]]
    assert later["laterality"]["coding"] == [series["laterality"]]
    assert later["modality"]["coding"] == [series["modality"]]


def test_a_series_that_began_before_its_study_has_no_start(single: Study) -> None:
    facts = SeriesFacts(date="20260622", time="103020", body_part="ELBOW PATCH", laterality="U")
    (series,) = render(replace(single, series=(replace(single.series[0], facts=facts),)), ())["series"]
    assert not series.keys() & {"started", "laterality", "performer"}
    assert series["bodySite"] == {"display": "ELBOW PATCH"}


def test_an_older_code_of_the_region_is_told_as_snomed_ct(single: Study) -> None:
    facts = SeriesFacts(region=Code(value="T-71000", scheme="SRT", meaning="Kidney"), body_part="ABDOMEN")
    (series,) = render(replace(single, series=(replace(single.series[0], facts=facts),)), ())["series"]
    assert series["bodySite"]["code"] == "64033007"


def test_a_study_in_doubt_is_taken_back_and_names_nobody(single: Study, order: Order) -> None:
    study = render(replace(single, doubt="another patient"), (order,))
    assert study["status"] == "entered-in-error"
    assert "MRN1" not in json.dumps(study)
    assert "Patient/7" not in json.dumps(study)
