"""Studies told to systems that take messages: FHIR messaging, and a plain JSON webhook."""

import hashlib
import hmac
import json
from collections.abc import Iterator, Mapping
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from gateway.fhir.entries import Entry, read_entries, study_of
from gateway.fhir.exact import encode_exact
from gateway.fhir.observations import FETUS
from gateway.fhir.outcome import read_outcome
from gateway.fhir.talk import Talk
from gateway.fhir.verdict import judge, judge_fhir
from gateway.imaging.selection import DERIVATION, PART, SIDE
from gateway.model.delivery import Delivery
from gateway.model.errors import Refused, Unavailable

NEWS = {"system": "http://terminology.hl7.org/CodeSystem/v2-0003", "code": "R01"}
"""What the message tells: an unsolicited result. Source: HL7 table 0003; FHIR R4 messageheader.html, eventCoding."""

SIGNATURE = "X-Gateway-Signature"
DELIVERY = "X-Gateway-Delivery"


def message(talk: Talk, delivery: Delivery) -> None:
    """A message Bundle is taken by `$process-message`. Source: FHIR R4 messaging.html.

    A delivery that is sent again has the same message id, so the receiver can tell it from a newer one.
    """
    answer = talk.ask("POST", "$process-message", render_message(delivery, talk.destination.release))
    judge_fhir(answer)
    _judge_reply(answer.tree())


def render_message(delivery: Delivery, release: str) -> dict[str, Any]:
    """The resources of the delivery behind a MessageHeader that has the study in focus."""
    entries = read_entries(delivery)
    name = _name(delivery)
    source = {"name": "Imaging order gateway"}
    endpoint = "urn:imaging-order-gateway"
    header = {
        "resourceType": "MessageHeader",
        "id": name,
        "eventCoding": NEWS,
        "source": {**source, ("endpointUrl" if release == "R5" else "endpoint"): endpoint},
        "focus": [{"reference": study_of(delivery, entries).full_url}],
    }
    told = ({"fullUrl": entry.full_url, "resource": entry.resource} for entry in entries)
    first = {"fullUrl": f"urn:uuid:{name}", "resource": header}
    return {
        "resourceType": "Bundle",
        "id": name,
        "type": "message",
        "timestamp": delivery.created_at.isoformat(timespec="milliseconds"),
        "entry": [first, *told],
    }


def webhook(talk: Talk, delivery: Delivery) -> None:
    """The study as plain JSON is taken by the destination's URL; any 2xx says so."""
    body = encode_exact(render_webhook(delivery))
    headers = {"Content-Type": "application/json", "Accept": "application/json", DELIVERY: str(delivery.id)}
    secret = talk.destination.signing_secret
    if secret:
        headers[SIGNATURE] = f"sha256={hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}"
    judge(talk.ask_bytes("POST", "", body, headers))


def render_webhook(delivery: Delivery) -> dict[str, Any]:
    """The study in our own words, which docs/fhir.md lists; what is not known is left out."""
    entries = read_entries(delivery)
    study = study_of(delivery, entries).resource
    told = {
        "event": "study",
        "delivery": delivery.id,
        "study_uid": delivery.key,
        "status": study.get("status"),
        "started": study.get("started"),
        "description": study.get("description"),
        "accessions": _accessions(study),
        "patient": _party(study.get("subject")),
        "orders": [_party(one) for one in _many(study, "basedOn")],
        "modalities": [_code(one).get("code") for one in _many(study, "modality")],
        "series": [_series(one) for one in _many(study, "series")],
        "series_count": study.get("numberOfSeries"),
        "instance_count": study.get("numberOfInstances"),
        "measurements": list(_measurements(entries)),
        "addresses": [one.resource["address"] for one in entries if one.kind == "Endpoint"],
    }
    return _known(told)


def _judge_reply(tree: object) -> None:
    """Raises Unavailable for a transient error, Refused for a fatal one, with what the receiver says of it.

    Source: FHIR R4 response-code; messageheader.html, response.details.
    """
    entries = _many(tree, "entry")
    code = next((_reply(entry) for entry in entries if _reply(entry)), "ok")
    outcomes = [
        one
        for one in (entry.get("resource") for entry in entries)
        if isinstance(one, dict) and one.get("resourceType") == "OperationOutcome"
    ]
    said = "".join(f": {words}" for words in map(read_outcome, outcomes[:1]) if words)
    if code == "transient-error":
        raise Unavailable(f"the receiver could not take the message now{said}")
    if code == "fatal-error":
        raise Refused(f"the receiver refused the message{said}")


def _reply(entry: Mapping[str, Any]) -> str:
    resource = entry.get("resource")
    response = resource.get("response") if isinstance(resource, dict) else None
    code = response.get("code") if isinstance(response, dict) else None
    return code if isinstance(code, str) else ""


def _name(delivery: Delivery) -> str:
    """A UUID made of the delivery and what it says."""
    digest = hashlib.sha256(delivery.payload).hexdigest()
    return str(uuid5(NAMESPACE_URL, f"{delivery.destination}:{delivery.id}:{digest}"))


def _accessions(study: Mapping[str, Any]) -> list[str]:
    return [
        one["value"]
        for one in _many(study, "identifier")
        if "ACSN" in json.dumps(one.get("type")) and isinstance(one.get("value"), str)
    ]


def _party(reference: object) -> dict[str, Any]:
    """Who or what a Reference means: its literal, and its identifier."""
    if not isinstance(reference, dict):
        return {}
    identifier = reference.get("identifier") if isinstance(reference.get("identifier"), dict) else {}
    assigner = (identifier or {}).get("assigner") or {}
    return _known(
        {
            "reference": reference.get("reference"),
            "id": (identifier or {}).get("value"),
            "system": (identifier or {}).get("system") or assigner.get("display"),
        }
    )


def _series(series: Mapping[str, Any]) -> dict[str, Any]:
    return _known(
        {
            "uid": series.get("uid"),
            "number": series.get("number"),
            "modality": _code(series.get("modality")).get("code"),
            "description": series.get("description"),
            "instance_count": series.get("numberOfInstances"),
            "instances": [one.get("uid") for one in _many(series, "instance")],
        }
    )


def _measurements(entries: tuple[Entry, ...]) -> Iterator[dict[str, Any]]:
    for entry in entries:
        quantity = entry.resource.get("valueQuantity")
        if entry.kind == "Observation" and isinstance(quantity, dict):
            code, told = _code(entry.resource.get("code")), _components(entry.resource)
            yield _known(
                {
                    "code": code.get("code"),
                    "system": code.get("system"),
                    "name": code.get("display") or entry.resource["code"].get("text"),
                    "value": quantity.get("value"),
                    "unit": quantity.get("code") or quantity.get("unit"),
                    "subject": told.get(FETUS),
                    "site": _words(entry.resource.get("bodySite")),
                    "side": told.get(SIDE),
                    "part": told.get(PART),
                    "derivation": told.get(DERIVATION),
                    "status": entry.resource.get("status"),
                }
            )


def _components(observation: Mapping[str, Any]) -> dict[str, str]:
    """What the parts of an Observation say, by their codes."""
    return {
        str(_code(one.get("code")).get("code")): one.get("valueString")
        or _words(one.get("valueCodeableConcept"))
        for one in _many(observation, "component")
    }


def _words(concept: object) -> str:
    """A CodeableConcept for people; "" for none."""
    if not isinstance(concept, dict):
        return ""
    coded = _code(concept)
    return str(concept.get("text") or coded.get("display") or coded.get("code") or "")


def _code(concept: object) -> dict[str, Any]:
    """The first Coding of a CodeableConcept, or the Coding itself: R4 and R5 differ in which they have."""
    if not isinstance(concept, dict):
        return {}
    return next(iter(_many(concept, "coding")), concept)


def _many(element: object, name: str) -> list[dict[str, Any]]:
    values = element.get(name) if isinstance(element, dict) else None
    return [one for one in values if isinstance(one, dict)] if isinstance(values, list) else []


def _known(element: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in element.items() if value not in (None, "", [], {})}
