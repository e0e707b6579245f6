"""What machines measured, as FHIR Observations, one for each number.

Source: HL7 dicom-sr (DICOM SR to FHIR Resource Mapping), ImagingMeasurement; FHIR R4 and R5 observation.html; DICOM
PS3.16 TID 300, 1008, 5000, 5200. Nothing is worked out here: a number leaves with the digits that the report has.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final
from zoneinfo import ZoneInfo

from gateway.fhir import parties
from gateway.fhir.coding import LOINC, UCUM, concept
from gateway.fhir.destination import Destination
from gateway.fhir.imaging_study import started
from gateway.fhir.parties import UID_SYSTEM
from gateway.fhir.primitives import Json, clean, decimal, instant, local_instant, token, without_empty
from gateway.imaging import selection
from gateway.imaging.selection import (
    DERIVATION,
    METHOD,
    PART,
    SELECTION,
    SIDE,
    SITE,
    is_final,
    replaced_reports,
    report_of,
    said_of,
)
from gateway.imaging.snomed import normal
from gateway.model.ids import is_uid
from gateway.model.measurement import Circumstances, Measurement, Report
from gateway.model.order import Order
from gateway.model.study import Study
from gateway.model.zones import read_offset

KIND = "Observation"
ITEM_SYSTEM = "urn:imaging-order-gateway:content-item"
"""Of the identifiers we make: the report's SOP Instance UID and the item's place in it."""

MOST = 1000
"""A study with more measurements is told with the first of them."""

_CATEGORIES = "http://terminology.hl7.org/CodeSystem/observation-category"
_REASONS = "http://terminology.hl7.org/CodeSystem/data-absent-reason"
FETUS: Final = "11951-1"
"""Of LOINC: the component that says which fetus was measured."""

_FETUS: Json = {"coding": [{"system": LOINC, "code": FETUS, "display": "Fetus ID"}]}

_ABSENT = {
    "114000": "not-a-number",
    "114001": "negative-infinity",
    "114002": "positive-infinity",
    "114007": "not-performed",
    "114010": "unknown",
}
"""Numeric value qualifiers of DCM (CID 42) as FHIR's reasons; any other is an error of the measurement."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """An Observation that is to be told, and what identifies it."""

    identifier: tuple[str, str]  # system and value
    measurement: Measurement


def chosen(measurements: Iterable[Measurement]) -> tuple[Observed, ...]:
    """The measurements to tell, in their order, each under an identifier of its own, at most `MOST`."""
    taken: dict[tuple[str, str], Observed] = {}
    for one in selection.chosen(measurements, _is_usable):
        own = _own_uid(one)
        identifier = own if own is not None and own not in taken else _place(one)
        taken.setdefault(identifier, Observed(identifier=identifier, measurement=one))
    return tuple(taken.values())[:MOST]


def replaced(measurements: Iterable[Measurement]) -> tuple[Observed, ...]:
    """What was told of reports that another one has replaced since, unless it is told anew as the same thing."""
    found = tuple(measurements)
    still = {one.identifier for one in chosen(found)}
    before = {
        told.identifier: told
        for uid in replaced_reports(found)
        for told in chosen(one for one in found if report_of(one).sop_uid == uid)
    }
    return tuple(told for identifier, told in before.items() if identifier not in still)[:MOST]


def render_observation(
    observed: Observed,
    study: Study,
    orders: tuple[Order, ...],
    destination: Destination,
    zone: ZoneInfo,
    part_of: str,
) -> Json:
    """The Observation, without an id; `part_of` is what the Bundle calls the study."""
    one = observed.measurement
    said = one.circumstances
    if study.doubt:
        return render_withdrawn(observed)
    own = read_offset(study.facts.zone_offset) or zone
    whole = {"reference": part_of, "type": "ImagingStudy"}
    elements: dict[str, Any] = {
        "resourceType": KIND,
        "identifier": [_identifier(observed)],
        "basedOn": parties.based_on(study, orders, destination.knows),
        "partOf": [whole],
        "status": _status(one),
        "category": [{"coding": [{"system": _CATEGORIES, "code": "imaging", "display": "Imaging"}]}],
        "code": concept(one.name),
        "subject": parties.subject(study, orders, destination.knows),
        "encounter": parties.encounter(orders, destination.knows),
        "effectiveDateTime": started(study, own),
        "issued": _issued(report_of(one), zone),
        **_value(one),
        "bodySite": _body_site(said),
        "method": next((concept(value) for value in said_of(said, METHOD)), {}),
        "derivedFrom": [whole],
        "component": _components(one),
    }
    return without_empty(elements)


def status_of(told: Iterable[Observed]) -> str:
    """The status of all together: final when every report was verified, else preliminary."""
    found = {_status(one.measurement) for one in told}
    return "preliminary" if "preliminary" in found else "final"


def render_withdrawn(observed: Observed) -> Json:
    """The Observation as one that must not be relied on. Source: FHIR R4 Observation.status, entered-in-error."""
    return {
        "resourceType": KIND,
        "identifier": [_identifier(observed)],
        "status": "entered-in-error",
        "code": concept(observed.measurement.name),
    }


def _is_usable(one: Measurement) -> bool:
    is_named = bool(token(one.name.value) or clean(one.name.meaning))
    return is_named and (decimal(one.value) is not None or one.circumstances.qualifier is not None)


def _own_uid(one: Measurement) -> tuple[str, str] | None:
    uid = one.circumstances.observation_uid
    return (UID_SYSTEM, f"urn:oid:{uid}") if is_uid(uid) and "." in uid else None


def _place(one: Measurement) -> tuple[str, str]:
    return ITEM_SYSTEM, f"{report_of(one).sop_uid}/{one.path}"


def _identifier(observed: Observed) -> Json:
    system, value = observed.identifier
    return {"use": "official", "system": system, "value": value}


def _status(one: Measurement) -> str:
    """Source: HL7 dicom-sr, status: a report nobody answers for is preliminary."""
    if not is_final(one):
        return "preliminary"
    return "amended" if report_of(one).replaces else "final"


def _issued(report: Report, zone: ZoneInfo) -> str:
    at = local_instant(report.date, report.time, read_offset(report.zone_offset) or zone)
    return instant(at, at.tzinfo or zone) if at is not None else ""


def _value(one: Measurement) -> Json:
    """The number with its unit, or why there is none; never both. Source: FHIR R4 observation.html, obs-6."""
    number = decimal(one.value)
    if number is None:
        qualifier = one.circumstances.qualifier
        code = _ABSENT.get(qualifier.value, "error") if qualifier is not None else "unknown"
        return {"dataAbsentReason": {"coding": [{"system": _REASONS, "code": code}]}}
    quantity: Json = {"value": number}
    if one.unit is not None:
        quantity["unit"] = clean(one.unit.meaning) or clean(one.unit.value)
        if one.unit.scheme == "UCUM" and token(one.unit.value):
            quantity |= {"system": UCUM, "code": token(one.unit.value)}
    return {"valueQuantity": quantity}


def _body_site(said: Circumstances) -> Json:
    """Where it was measured. With a side or a part it is told in words: the code alone would mean all of it."""
    sites = said_of(said, SITE)
    if not sites:
        return {}
    further = [clean(value.meaning) for name in (SIDE, PART) for value in said_of(said, name)]
    if not any(further):
        return concept(sites[0])
    return {"text": ", ".join(filter(None, (clean(sites[0].meaning), *further)))}


def _components(one: Measurement) -> list[Json]:
    """What tells this number from others of the same name: the fetus, the side, how it was derived.

    None has the code of the Observation itself. Source: FHIR R4 observation.html, obs-7.
    """
    said = one.circumstances
    found: list[Json] = []
    if clean(said.subject):
        found.append({"code": _FETUS, "valueString": clean(said.subject)})
    has_side = bool(said_of(said, SIDE) or said_of(said, PART))
    wanted = (*((SITE,) if has_side else ()), SIDE, PART, DERIVATION, SELECTION)
    for name, value in said.modifiers:
        if normal(name).value in wanted and concept(value):
            found.append({"code": concept(name), "valueCodeableConcept": concept(value)})
    return [one_part for one_part in found if one_part["code"] != concept(one.name)]
