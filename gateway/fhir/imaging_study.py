"""A study as a FHIR ImagingStudy of release R4 or R5.

Source: FHIR R4 and R5 imagingstudy.html; IHE RAD IMR, ImagingStudy.
"""

from collections.abc import Iterable
from datetime import tzinfo
from typing import Any
from zoneinfo import ZoneInfo

from gateway.fhir import parties
from gateway.fhir.coding import as_concept, concepts
from gateway.fhir.destination import Destination, Instances
from gateway.fhir.parties import UID_SYSTEM
from gateway.fhir.primitives import Json, clean, instant, read_day, without_empty
from gateway.fhir.series import render_modality, render_series
from gateway.model.measurement import Code
from gateway.model.order import Order
from gateway.model.study import Study
from gateway.model.zones import read_offset

KIND = "ImagingStudy"

_NO_PICTURES = frozenset({"SR", "PR", "KO", "AU"})  # modalities of objects that accompany pictures


def render(
    study: Study, orders: tuple[Order, ...], destination: Destination, zone: ZoneInfo, endpoint: str = ""
) -> Json:
    """The ImagingStudy of a study and its orders, without an id: the server gives one.

    `zone` is the site's. `endpoint` is what the Bundle calls the Endpoint, "" for none. Of a study whose link to
    its order is in doubt nothing stays but that it was entered in error. The patient's name is never in it.
    """
    if study.doubt:
        return withdrawn(study)
    own = read_offset(study.facts.zone_offset) or zone
    codes = (*study.facts.procedure, *_ordered_codes(orders))
    counted = study.instance_count
    has_list = destination.instances is Instances.ALL or (
        destination.instances is Instances.LIMITED and counted <= destination.max_instances
    )
    is_r5 = destination.is_r5
    series = [
        render_series(one, is_r5=is_r5, zone=own, has_list=has_list, not_before=study.started)
        for one in study.series
    ]
    elements: dict[str, Any] = {
        **_common(study.study_uid, study, orders, destination),
        "status": "available",
        "modality": _modalities((one.modality for one in study.series), is_r5=is_r5),
        "started": started(study, own),
        "endpoint": [{"reference": endpoint, "type": "Endpoint"}] if endpoint else [],
        "numberOfSeries": len(study.series),
        "numberOfInstances": counted,
        **_procedures(codes, is_r5=is_r5),
        "description": clean(study.description),
        "series": series,
    }
    return without_empty(elements)


def render_ordered(orders: tuple[Order, ...], destination: Destination, *, is_cancelled: bool) -> Json:
    """The study that orders, one at least, will have: registered, or cancelled when nothing ever came of it."""
    is_r5 = destination.is_r5
    elements: dict[str, Any] = {
        **_common(orders[0].study_uid, None, orders, destination),
        "status": "cancelled" if is_cancelled else "registered",
        "modality": _modalities((order.modality for order in orders), is_r5=is_r5),
        **_procedures(_ordered_codes(orders), is_r5=is_r5),
        "description": clean(orders[0].description),
    }
    return without_empty(elements)


def withdrawn(study: Study) -> Json:
    """The study taken back: nothing of the person it was announced for stays in it."""
    unknown = parties.subject(None, (), lambda source: False)
    found = parties.identifiers(study.study_uid, None, ())
    return {"resourceType": KIND, "identifier": found, "status": "entered-in-error", "subject": unknown}


def started(study: Study, zone: tzinfo) -> str:
    """The start with its zone, to the millisecond; the day alone when the hour is not known; "" without a day."""
    return instant(study.started, zone) if study.started is not None else read_day(study.study_date)


def identifier_of(study_uid: str) -> str:
    """The token that finds the study on a server, ready to stand in a query. Source: FHIR R4 search.html, token."""
    return f"{UID_SYSTEM}%7Curn:oid:{study_uid}"


def _common(
    study_uid: str, study: Study | None, orders: tuple[Order, ...], destination: Destination
) -> dict[str, Any]:
    """What a study has in every state, and R4 and R5 alike but for the reason."""
    reasons = [{"text": text} for text in parties.reasons(orders)]
    return {
        "resourceType": KIND,
        "identifier": parties.identifiers(study_uid, study, orders),
        "subject": parties.subject(study, orders, destination.knows),
        "encounter": parties.encounter(orders, destination.knows),
        "basedOn": parties.based_on(study, orders, destination.knows),
        "referrer": parties.referrer(study, orders),
        **(
            {"reason": [{"concept": one} for one in reasons]}
            if destination.is_r5
            else {"reasonCode": reasons}
        ),
    }


def _procedures(codes: Iterable[Code], *, is_r5: bool) -> dict[str, Any]:
    found = concepts(codes)
    return {"procedure": [{"concept": one} for one in found]} if is_r5 else {"procedureCode": found}


def _ordered_codes(orders: tuple[Order, ...]) -> tuple[Code, ...]:
    """The codes of the procedures that were asked for."""
    found = []
    for order in orders:
        for item in order.attributes.get("RequestedProcedureCodeSequence", ()):
            if not isinstance(item, str):
                value, scheme, meaning = (
                    text if isinstance(text := item.get(name, ""), str) else ""
                    for name in ("CodeValue", "CodingSchemeDesignator", "CodeMeaning")
                )
                found.append(Code(value=value, scheme=scheme, meaning=meaning))
    return tuple(found)


def _modalities(modalities: Iterable[str], *, is_r5: bool) -> list[Json]:
    """Each modality once, as first seen; those without pictures only where there is no other."""
    seen = list(dict.fromkeys(one.strip() for one in modalities if clean(one)))
    shown = [modality for modality in seen if modality not in _NO_PICTURES] or seen
    found = [render_modality(modality) for modality in shown]
    return [as_concept(one) for one in found] if is_r5 else found
