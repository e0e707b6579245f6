"""What machines measured, as FHIR Observations, one for each number.

Source: HL7 dicom-sr (DICOM SR to FHIR Resource Mapping), ImagingMeasurement; FHIR R4 and R5 observation.html; DICOM
PS3.16 TID 300, 1008, 5000, 5200. Nothing is worked out here: a number leaves with the digits that the report has.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

from gateway.fhir import parties
from gateway.fhir.coding import LOINC, UCUM, concept, normal
from gateway.fhir.destination import Destination
from gateway.fhir.imaging_study import started
from gateway.fhir.parties import UID_SYSTEM
from gateway.fhir.primitives import Json, clean, decimal, instant, local_instant, token, without_empty
from gateway.model.ids import is_uid
from gateway.model.measurement import Circumstances, Code, Measurement, Report
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
_FETUS: Json = {"coding": [{"system": LOINC, "code": "11951-1", "display": "Fetus ID"}]}

_SITE, _SIDE, _PART, _METHOD = "363698007", "272741003", "106233006", "370129005"  # SNOMED CT
_DERIVATION, _SELECTION = "121401", "121404"  # DCM
_CHOSEN = frozenset({"121410", "121411", "121412"})  # DCM, CID 224
_MEAN = "373098007"  # SNOMED CT, CID 3627
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
    """The measurements to tell, in their order, each under an identifier of its own, at most `MOST`.

    Left out are those without name or value, those of reports that another one replaces, and of several of one
    thing all but the one that was chosen, or else their mean. Source: DICOM PS3.16 TID 300, CID 224, CID 3627.
    """
    found = tuple(measurements)
    replaced = {uid for one in found for uid in _report(one).replaces}
    usable = [one for one in found if _is_usable(one) and _report(one).sop_uid not in replaced]
    groups: dict[object, list[Measurement]] = {}
    for one in usable:
        groups.setdefault(_thing(one), []).append(one)
    kept = {id(one) for group in groups.values() for one in _selected(group)}
    taken: dict[tuple[str, str], Observed] = {}
    for one in usable:
        if id(one) in kept:
            own = _own_uid(one)
            identifier = own if own is not None and own not in taken else _place(one)
            taken.setdefault(identifier, Observed(identifier=identifier, measurement=one))
    return tuple(taken.values())[:MOST]


def replaced(measurements: Iterable[Measurement]) -> tuple[Observed, ...]:
    """What was told of reports that another one has replaced since, unless it is told anew as the same thing."""
    found = tuple(measurements)
    gone = dict.fromkeys(uid for one in found for uid in _report(one).replaces)
    still = {one.identifier for one in chosen(found)}
    before = {
        told.identifier: told
        for uid in gone
        for told in chosen(one for one in found if _report(one).sop_uid == uid)
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
        "status": _status(_report(one)),
        "category": [{"coding": [{"system": _CATEGORIES, "code": "imaging", "display": "Imaging"}]}],
        "code": concept(one.name),
        "subject": parties.subject(study, orders, destination.knows),
        "encounter": parties.encounter(orders, destination.knows),
        "effectiveDateTime": started(study, own),
        "issued": _issued(_report(one), zone),
        **_value(one),
        "bodySite": _body_site(said),
        "method": next((concept(value) for value in _said(said, _METHOD)), {}),
        "derivedFrom": [whole],
        "component": _components(one),
    }
    return without_empty(elements)


def status_of(told: Iterable[Observed]) -> str:
    """The status of all together: final when every report was verified, else preliminary."""
    found = {_status(_report(one.measurement)) for one in told}
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


def _selected(group: list[Measurement]) -> list[Measurement]:
    """Of several measurements of one thing, those that stand for it."""
    picked = [one for one in group if any(v.value in _CHOSEN for v in _said(one.circumstances, _SELECTION))]
    means = [
        one for one in group if any(normal(v).value == _MEAN for v in _said(one.circumstances, _DERIVATION))
    ]
    return picked or means or group


def _thing(one: Measurement) -> object:
    """What is measured: the same for the numbers of which one may stand for all."""
    said = one.circumstances
    where = tuple(
        (name, normal(value).value) for name in (_SITE, _SIDE, _PART, _METHOD) for value in _said(said, name)
    )
    name = normal(one.name)
    return (_report(one).sop_uid, said.subject, name.value, name.scheme, name.meaning, one.context, where)


def _said(said: Circumstances, code: str) -> list[Code]:
    """The values of the modifiers of that name."""
    return [value for name, value in said.modifiers if normal(name).value == code]


def _own_uid(one: Measurement) -> tuple[str, str] | None:
    uid = one.circumstances.observation_uid
    return (UID_SYSTEM, f"urn:oid:{uid}") if is_uid(uid) and "." in uid else None


def _place(one: Measurement) -> tuple[str, str]:
    return ITEM_SYSTEM, f"{_report(one).sop_uid}/{one.path}"


def _identifier(observed: Observed) -> Json:
    system, value = observed.identifier
    return {"use": "official", "system": system, "value": value}


def _report(one: Measurement) -> Report:
    unread = Report(sop_uid="", is_complete=False, is_verified=False, is_preliminary=True)
    return one.circumstances.report or unread


def _status(report: Report) -> str:
    """Source: HL7 dicom-sr, status: a report nobody answers for is preliminary."""
    if not report.is_verified or not report.is_complete or report.is_preliminary:
        return "preliminary"
    return "amended" if report.replaces else "final"


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
    sites = _said(said, _SITE)
    if not sites:
        return {}
    further = [clean(value.meaning) for name in (_SIDE, _PART) for value in _said(said, name)]
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
    has_side = bool(_said(said, _SIDE) or _said(said, _PART))
    wanted = (*((_SITE,) if has_side else ()), _SIDE, _PART, _DERIVATION, _SELECTION)
    for name, value in said.modifiers:
        if normal(name).value in wanted and concept(value):
            found.append({"code": concept(name), "valueCodeableConcept": concept(value)})
    return [one_part for one_part in found if one_part["code"] != concept(one.name)]
