"""A series and its instances, as ImagingStudy has them. Source: FHIR R4 and R5 imagingstudy.html."""

from datetime import datetime, tzinfo

from gateway.fhir.coding import DCM, as_concept, side, site
from gateway.fhir.parties import practitioner
from gateway.fhir.primitives import Json, clean, instant, local_instant, token, unsigned, without_empty
from gateway.model.study import Instance, Series, SeriesFacts
from gateway.model.zones import read_offset

_NULL_FLAVOR = "http://terminology.hl7.org/CodeSystem/v3-NullFlavor"
_PARTICIPATION = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"
_PERFORMER = {"coding": [{"system": _PARTICIPATION, "code": "PRF", "display": "performer"}]}


def render_series(
    series: Series, *, is_r5: bool, zone: tzinfo, has_list: bool, not_before: datetime | None
) -> Json:
    """One series; `has_list`: with its instances. A start before the study's (`not_before`) is left out."""
    facts = series.facts
    where = site(facts.body_part, facts.region)
    on = side(facts.laterality)
    modality = render_modality(series.modality)
    return without_empty(
        {
            "uid": series.series_uid,
            "number": unsigned(series.number),
            "modality": as_concept(modality) if is_r5 else modality,
            "description": clean(series.description),
            "numberOfInstances": len(series.instances),
            "bodySite": {"concept": as_concept(where)} if is_r5 else where,
            "laterality": as_concept(on) if is_r5 else on,
            "started": _started(facts, zone, not_before),
            "performer": _performers(facts),
            "instance": [_instance(instance) for instance in series.instances] if has_list else [],
        }
    )


def render_modality(modality: str) -> Json:
    """A modality as a Coding; FHIR wants one for every series."""
    code = token(modality)
    return {"system": DCM, "code": code} if code else {"system": _NULL_FLAVOR, "code": "UNK"}


def _started(facts: SeriesFacts, zone: tzinfo, not_before: datetime | None) -> str:
    """A series cannot begin before its study: such a clock is not to be believed."""
    begun = local_instant(facts.date, facts.time, read_offset(facts.zone_offset) or zone)
    if begun is None or (not_before is not None and begun.replace(microsecond=999999) < not_before):
        return ""
    return instant(begun, begun.tzinfo or zone)


def _performers(facts: SeriesFacts) -> list[Json]:
    """The physicians and technologists by name, and the machine by its station name."""
    names = [*facts.performing.split("\\"), *facts.operators.split("\\")]
    actors = [practitioner(name) for name in dict.fromkeys(names)]
    station = clean(facts.station)
    if station:
        actors.append({"type": "Device", "display": station})
    return [{"function": _PERFORMER, "actor": actor} for actor in actors if actor]


def _instance(instance: Instance) -> Json:
    """Source: FHIR R4 imagingstudy.html, instance.sopClass: a urn:oid in the system of URIs."""
    return without_empty(
        {
            "uid": instance.sop_uid,
            "sopClass": {"system": "urn:ietf:rfc:3986", "code": f"urn:oid:{instance.sop_class}"},
            "number": unsigned(instance.number),
            "title": clean(instance.title),
        }
    )
