from dataclasses import replace
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from gateway.fhir.conformity import faults
from gateway.fhir.destination import Destination
from gateway.fhir.observations import MOST, chosen, render_observation, render_withdrawn, replaced
from gateway.model.measurement import Circumstances, Code, Measurement, Report
from gateway.model.study import Study

LONDON = ZoneInfo("Europe/London")
EHR = Destination(name="ehr", url="https://ehr.example/fhir")
BPD = Code(value="11820-8", scheme="LN", meaning="Biparietal Diameter")
MM = Code(value="mm", scheme="UCUM", meaning="millimeter")
REPORT = Report(sop_uid="1.2.3", is_complete=True, is_verified=False, is_preliminary=False)


def _code(value: str, scheme: str = "SCT", meaning: str = "m") -> Code:
    return Code(value=value, scheme=scheme, meaning=meaning)


DERIVATION, SELECTION = _code("121401", "DCM", "Derivation"), _code("121404", "DCM", "Selection Status")
MEAN, LARGEST = _code("373098007", meaning="Mean"), _code("56851009", meaning="Maximum")
CHOSEN = _code("121410", "DCM", "User chosen value")
SITE, SIDE = _code("363698007", meaning="Finding Site"), _code("272741003", meaning="Laterality")
KIDNEY, LEFT = _code("64033007", meaning="Kidney"), _code("7771000", meaning="Left")


def _measured(value: str = "52.10", path: str = "1.1", **said: Any) -> Measurement:
    circumstances = Circumstances(**{"report": REPORT, **said})
    return Measurement(name=BPD, value=value, unit=MM, context=(), path=path, circumstances=circumstances)


def _told(study: Study, *measurements: Measurement, release: Any = "R4") -> list[dict[str, Any]]:
    to = replace(EHR, release=release)
    found = [render_observation(one, study, (), to, LONDON, "urn:oid:1.2") for one in chosen(measurements)]
    assert [faults(one, release) for one in found] == [()] * len(found)
    return found


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("52.10", "52.10"),
        ("+1.0", "1.0"),
        (".50", "0.50"),
        ("7.", "7"),
        ("0010", "10"),
        ("1.250E-03", "0.001250"),
        ("-0.0", "-0.0"),
    ],
)
def test_the_digits_are_the_reports(single: Study, text: str, number: str) -> None:
    (told,) = _told(single, _measured(text))
    assert isinstance(told["valueQuantity"]["value"], Decimal)
    assert str(told["valueQuantity"]["value"]) == number
    assert told["valueQuantity"]["code"] == "mm"


@pytest.mark.parametrize("text", ["", "1E999999", "nan"])
def test_what_is_no_number_is_left_out_or_said_to_be_absent(single: Study, text: str) -> None:
    assert _told(single, _measured(text)) == []
    (told,) = _told(single, _measured(text, qualifier=_code("114006", "DCM")))
    assert told["dataAbsentReason"]["coding"][0]["code"] == "error"
    assert "valueQuantity" not in told


def test_a_value_is_told_without_a_reason_for_its_absence(single: Study) -> None:
    (told,) = _told(single, _measured("1", qualifier=_code("114009", "DCM")))
    assert "dataAbsentReason" not in told


@pytest.mark.parametrize(
    ("flags", "status"),
    [
        ({}, "preliminary"),
        ({"is_verified": True}, "final"),
        ({"is_verified": True, "is_complete": False}, "preliminary"),
        ({"is_verified": True, "is_preliminary": True}, "preliminary"),
        ({"is_verified": True, "replaces": ("1.2.2",)}, "amended"),
    ],
)
def test_only_a_verified_report_is_final(single: Study, flags: dict[str, Any], status: str) -> None:
    (told,) = _told(single, _measured(report=replace(REPORT, **flags)))
    assert told["status"] == status


def test_twins_have_each_their_own(single: Study) -> None:
    one, other = _told(single, _measured("52", "1.1", subject="A"), _measured("49", "1.2", subject="B"))
    assert one["identifier"] != other["identifier"]
    assert [told["component"][0]["valueString"] for told in (one, other)] == ["A", "B"]


@pytest.mark.parametrize(
    ("modifiers", "expected"),
    [
        ([(), ((DERIVATION, MEAN),)], ["2"]),
        ([((DERIVATION, LARGEST),), ((DERIVATION, MEAN),), ((SELECTION, CHOSEN),)], ["3"]),
        ([(), ()], ["1", "2"]),
        ([((DERIVATION, LARGEST),), ()], ["1", "2"]),
        ([((SITE, KIDNEY), (SIDE, LEFT), (DERIVATION, MEAN)), ((SITE, KIDNEY),)], ["1", "2"]),
    ],
)
def test_of_several_the_chosen_one_or_the_mean_is_told(
    single: Study, modifiers: list[tuple[tuple[Code, Code], ...]], expected: list[str]
) -> None:
    numbers = [_measured(str(n), f"1.{n}", modifiers=said) for n, said in enumerate(modifiers, start=1)]
    assert [str(told["valueQuantity"]["value"]) for told in _told(single, *numbers)] == expected


def test_a_side_is_told_and_never_lost(single: Study) -> None:
    (plain,) = _told(single, _measured(modifiers=((SITE, KIDNEY),)))
    assert plain["bodySite"]["coding"][0]["code"] == "64033007"
    (left,) = _told(single, _measured(modifiers=((SITE, KIDNEY), (SIDE, LEFT))))
    assert left["bodySite"] == {"text": "Kidney, Left"}
    assert [one["valueCodeableConcept"]["coding"][0]["code"] for one in left["component"]] == [
        "64033007",
        "7771000",
    ]


def test_an_observation_keeps_its_own_uid_and_a_second_one_does_not_take_it(single: Study) -> None:
    one, other = _told(
        single,
        _measured("1", "1.1", observation_uid="2.25.7"),
        _measured("2", "1.2", observation_uid="2.25.7"),
    )
    assert one["identifier"][0]["value"] == "urn:oid:2.25.7"
    assert other["identifier"][0]["value"] == "1.2.3/1.2"


def test_what_was_told_of_a_replaced_report_is_withdrawn() -> None:
    first, second, third = (
        replace(REPORT, sop_uid=uid, replaces=replaces)
        for uid, replaces in (("1.2.3", ()), ("1.2.4", ("1.2.3",)), ("1.2.5", ("1.2.4",)))
    )
    old, newer, newest = (_measured(str(n), report=one) for n, one in enumerate((first, second, third)))
    assert replaced([old]) == ()
    assert [one.measurement for one in replaced([old, newer])] == [old]
    assert [one.measurement for one in replaced([newest, old, newer])] == [newer, old]
    assert [one.identifier for one in replaced([old, newer])] == [one.identifier for one in chosen([old])]
    (told,) = replaced([old, newer])
    assert render_withdrawn(told)["status"] == "entered-in-error"
    assert set(render_withdrawn(told)) == {"resourceType", "identifier", "status", "code"}


def test_a_replaced_report_is_not_told(single: Study) -> None:
    newer = replace(REPORT, sop_uid="1.2.4", replaces=("1.2.3",))
    (told,) = _told(single, _measured("1"), _measured("2", report=newer))
    assert str(told["valueQuantity"]["value"]) == "2"


def test_a_unit_that_is_not_ucums_has_no_code(single: Study) -> None:
    private = Code(value="XX", scheme="99ACME", meaning="acmes")
    (told,) = _told(single, replace(_measured("1"), unit=private))
    assert told["valueQuantity"] == {"value": Decimal(1), "unit": "acmes"}


def test_it_is_about_the_study_and_when_it_was_written(single: Study) -> None:
    written = replace(REPORT, date="20260623", time="104501", zone_offset="+0200")
    for release in ("R4", "R5"):
        (told,) = _told(single, _measured(report=written), release=release)
        assert told["partOf"] == told["derivedFrom"] == [{"reference": "urn:oid:1.2", "type": "ImagingStudy"}]
        assert told["effectiveDateTime"] == "2026-06-23T10:30:15.250+01:00"
        assert told["issued"] == "2026-06-23T10:45:01+02:00"
        assert told["category"][0]["coding"][0]["code"] == "imaging"


def test_a_component_never_repeats_the_name(single: Study) -> None:
    named = replace(
        _measured("1", modifiers=((BPD, LEFT),), subject="A"), name=_code("11951-1", "LN", "Fetus ID")
    )
    (told,) = _told(single, named)
    assert "component" not in told


def test_there_is_a_limit() -> None:
    assert len(chosen(_measured("1", f"1.{n}") for n in range(MOST + 5))) == MOST
