import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from gateway.fhir.destination import Destination
from gateway.fhir.imaging_study import MAX_INSTANCES, faults, identifier_of, outgoing, render
from gateway.model.order import Order
from gateway.model.study import Study

LONDON = ZoneInfo("Europe/London")
FIXTURES = Path(__file__).parents[2] / "fixtures" / "fhir-out"


def _golden(name: str) -> Any:
    return json.loads((FIXTURES / f"{name}.json").read_text(encoding="utf-8"))


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


def test_an_ordered_picture_is_written_as_expected(single: Study, order: Order) -> None:
    assert render(single, (order,), zone=LONDON) == _golden("single-us")


def test_a_study_of_several_series_without_order_is_written_as_expected(several: Study) -> None:
    assert render(several, (), zone=LONDON) == _golden("several-series")


@pytest.mark.parametrize("name", ["single-us", "several-series"])
def test_what_is_expected_is_valid_r4(name: str) -> None:
    assert faults(_golden(name)) == ()


def test_faults_name_places_and_no_values(single: Study) -> None:
    broken = {**render(single, (), zone=LONDON), "numberOfSeries": -1, "novel": "Doe"}
    del broken["subject"]
    assert len(faults(broken)) == 3
    assert "Doe" not in str(faults(broken))


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
    assert json.loads(there.payload)["subject"]["reference"] == "Patient/7"
    assert there.payload == named.payload
    study = json.loads(elsewhere.payload)
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
    assert faults(study) == ()


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
    assert faults(study) == ()


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
    assert faults(study) == ()


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


def test_too_many_instances_are_only_counted(single: Study) -> None:
    (series,) = single.series
    for count, is_listed in ((MAX_INSTANCES, True), (MAX_INSTANCES + 1, False)):
        study = replace(single, series=(replace(series, instances=series.instances * count),))
        rendered = render(study, (), zone=LONDON)
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


def test_an_invalid_study_is_still_owed(single: Study) -> None:
    series = (replace(single.series[0], series_uid=type(single.study_uid)("not/an/id")),)
    (news,) = outgoing(
        replace(single, series=series), (), (Destination(name="ehr", url="https://x"),), LONDON
    )
    assert faults(json.loads(news.payload))


def test_the_token_needs_no_further_encoding() -> None:
    assert identifier_of("1.2.3") == "urn:dicom:uid%7Curn:oid:1.2.3"
