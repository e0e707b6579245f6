"""A study as a FHIR R4 ImagingStudy. Source: FHIR R4 imagingstudy.html, IHE RAD IMR ImagingStudy."""

import logging
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from fhir.resources.R4B.imagingstudy import ImagingStudy
from pydantic import ValidationError

from gateway.fhir.destination import Destination
from gateway.fhir.outcome import encode
from gateway.model.delivery import Outgoing
from gateway.model.ids import is_uid
from gateway.model.order import Order
from gateway.model.study import Instance, Series, Study

log = logging.getLogger(__name__)

KIND = "ImagingStudy"
DCM = "http://dicom.nema.org/resources/ontology/DCM"
UID_SYSTEM = "urn:dicom:uid"
MAX_INSTANCES = 2000
"""A longer list of instances is left out and only counted."""

_IDENTIFIER_TYPE = "http://terminology.hl7.org/CodeSystem/v2-0203"
_NULL_FLAVOR = "http://terminology.hl7.org/CodeSystem/v3-NullFlavor"
_ABSENT = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"
_STUDY_UID_TYPE = {"coding": [{"system": DCM, "code": "110180", "display": "Study Instance UID"}]}
_NO_PICTURES = frozenset({"SR", "PR", "KO", "AU"})  # modalities of objects that accompany pictures
_MAX_UNSIGNED = 2**31 - 1  # Source: FHIR R4 datatypes.html, unsignedInt


def outgoing(
    study: Study, orders: tuple[Order, ...], destinations: Iterable[Destination], zone: ZoneInfo
) -> tuple[Outgoing, ...]:
    """The news of the study for each destination. `zone` is the site's, in which its start is written."""
    return tuple(
        Outgoing(
            destination=destination.name,
            kind=KIND,
            key=study.study_uid,
            order_id=study.order_id,
            payload=encode(_checked(render(study, orders, zone=zone, knows=destination.knows), study)),
        )
        for destination in destinations
    )


def render(
    study: Study,
    orders: tuple[Order, ...],
    *,
    zone: ZoneInfo,
    knows: Callable[[str], bool] = lambda source: True,
) -> dict[str, Any]:
    """The ImagingStudy of a study and its orders, without an id: the server gives one.

    `knows` tells whether references of an order from that source mean the same on the server it is for; from
    others identifiers are given alone. The patient's name never is.
    """
    counted = study.instance_count
    has_list = counted <= MAX_INSTANCES
    elements: dict[str, Any] = {
        "resourceType": KIND,
        "identifier": list(_identifiers(study, orders)),
        "status": "available",
        "modality": _modalities(study),
        "subject": _subject(study, orders, knows),
        "started": _started(study, zone),
        "basedOn": _based_on(orders, knows),
        "numberOfSeries": len(study.series),
        "numberOfInstances": counted,
        "description": _clean(study.description),
        "series": [_series(series, has_list) for series in study.series],
    }
    return _without_empty(elements)


def faults(resource: dict[str, Any]) -> tuple[str, ...]:
    """The places where an ImagingStudy breaks the R4 structure; never their values."""
    try:
        ImagingStudy.model_validate(resource)
    except ValidationError as error:
        found = (".".join(str(part) for part in entry["loc"]) for entry in error.errors(include_input=False))
        return tuple(dict.fromkeys(found))
    return ()


def identifier_of(study_uid: str) -> str:
    """The token that finds the study on a server, ready to stand in a query. Source: FHIR R4 search.html, token."""
    return f"{UID_SYSTEM}%7Curn:oid:{study_uid}"


def _checked(resource: dict[str, Any], study: Study) -> dict[str, Any]:
    """The resource; what is wrong with it is told, and the other side decides."""
    places = faults(resource)
    if places:
        log.warning("imaging_study.invalid", extra={"study": study.id, "places": places})
    return resource


def _identifiers(study: Study, orders: tuple[Order, ...]) -> Iterator[dict[str, Any]]:
    yield {
        "use": "official",
        "type": _STUDY_UID_TYPE,
        "system": UID_SYSTEM,
        "value": f"urn:oid:{study.study_uid}",
    }
    ordered = dict.fromkeys(_clean(order.accession) for order in orders if _clean(order.accession))
    for accession in ordered or (_clean(study.accession),):
        if accession:
            yield {"use": "usual", **_typed("ACSN", accession)}


def _typed(code: str, value: str) -> dict[str, Any]:
    """Source: HL7 table 0203."""
    return {"type": {"coding": [{"system": _IDENTIFIER_TYPE, "code": code}]}, "value": value}


def _modalities(study: Study) -> list[dict[str, Any]]:
    """Each modality once, as first seen; those without pictures only where there is no other."""
    seen = list(dict.fromkeys(series.modality for series in study.series if series.modality.strip()))
    shown = [modality for modality in seen if modality not in _NO_PICTURES] or seen
    return [_modality(modality) for modality in shown]


def _modality(modality: str) -> dict[str, Any]:
    if not modality.strip():
        return {"system": _NULL_FLAVOR, "code": "UNK"}  # R4 wants a modality for every series
    return {"system": DCM, "code": modality.strip()}


def _subject(study: Study, orders: tuple[Order, ...], knows: Callable[[str], bool]) -> dict[str, Any]:
    """The patient's address on the server when an order brought it, else the patient's identifier."""
    for order in orders:
        if order.subject and knows(order.source):
            return {"reference": order.subject, "type": "Patient"}
    people = [(order.patient.patient_id, order.patient.issuer) for order in orders]
    for patient_id, issuer in (*people, (study.patient_id, study.issuer)):
        if _clean(patient_id):
            return {"type": "Patient", "identifier": _patient_identifier(_clean(patient_id), _clean(issuer))}
    return {"type": "Patient", "extension": [{"url": _ABSENT, "valueCode": "unknown"}]}


def _patient_identifier(patient_id: str, issuer: str) -> dict[str, Any]:
    """An issuer that is a UID or URI is a FHIR system; another is only a name."""
    identifier = _typed("MR", patient_id)
    if is_uid(issuer) and "." in issuer:
        return {**identifier, "system": f"urn:oid:{issuer}"}
    if issuer.startswith(("urn:", "http://", "https://")):
        return {**identifier, "system": issuer}
    return {**identifier, "assigner": {"display": issuer}} if issuer else identifier


def _based_on(orders: tuple[Order, ...], knows: Callable[[str], bool]) -> list[dict[str, Any]]:
    """The orders, by address where it is known there, and by accession or placer number."""
    found: list[dict[str, Any]] = []
    for order in orders:
        number = ("ACSN", order.accession) if _clean(order.accession) else ("PLAC", order.placer)
        reference = _without_empty(
            {
                "reference": order.service_request if knows(order.source) else "",
                "identifier": _typed(number[0], _clean(number[1])) if _clean(number[1]) else {},
            }
        )
        if reference and (linked := {**reference, "type": "ServiceRequest"}) not in found:
            found.append(linked)
    return found


def _started(study: Study, zone: ZoneInfo) -> str:
    """The start with its zone, to the millisecond; the day alone when the hour is not known; "" without a day."""
    if study.started is not None:
        return _instant(study.started, zone)
    digits = study.study_date.replace(".", "").strip()  # ACR-NEMA wrote 1993.08.22
    try:
        return (
            date(int(digits[:4]), int(digits[4:6]), int(digits[6:])).isoformat() if len(digits) == 8 else ""
        )
    except ValueError:
        return ""


def _instant(moment: datetime, zone: ZoneInfo) -> str:
    """Before zones were agreed on their offsets had seconds, which FHIR cannot write: such a moment is in UTC."""
    local = moment.astimezone(zone) if 1900 < moment.year < 9999 else moment
    offset = local.utcoffset()
    if offset is None or offset.total_seconds() % 60:
        local = moment.astimezone(UTC)
    return local.isoformat(timespec="milliseconds" if local.microsecond >= 1000 else "seconds")


def _series(series: Series, has_list: bool) -> dict[str, Any]:
    return {
        "uid": series.series_uid,
        "number": _unsigned(series.number),
        "modality": _modality(series.modality),
        "description": _clean(series.description),
        "numberOfInstances": len(series.instances),
        "instance": [_instance(instance) for instance in series.instances] if has_list else [],
    }


def _instance(instance: Instance) -> dict[str, Any]:
    return {
        "uid": instance.sop_uid,
        "sopClass": {"system": "urn:ietf:rfc:3986", "code": f"urn:oid:{instance.sop_class}"},
        "number": _unsigned(instance.number),
    }


def _unsigned(text: str) -> int | None:
    """An IS value as FHIR's unsignedInt, None when it is none: DICOM allows negative ones."""
    digits = text.strip().removeprefix("+")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 12):
        return None
    number = int(digits)
    return number if number <= _MAX_UNSIGNED else None


def _clean(text: str) -> str:
    """Text as FHIR's string allows it: no control characters, no blanks around."""
    return "".join(char if char.isprintable() else " " for char in text).strip()


def _without_empty(element: dict[str, Any]) -> dict[str, Any]:
    """FHIR has neither empty texts nor empty lists nor null. Source: FHIR R4 json.html."""
    kept = ((name, _pruned(value)) for name, value in element.items())
    return {name: value for name, value in kept if value not in (None, "", [], {})}


def _pruned(value: Any) -> Any:
    if isinstance(value, dict):
        return _without_empty(value)
    return [_pruned(inner) for inner in value] if isinstance(value, list) else value
