"""Who and what a study is about: its identifiers, its patient, its orders, the visit, those who took part.

Nothing is invented: whom the order's own server knows is referred to by address there, everybody else by identifier.
"""

from collections.abc import Callable, Iterator

from gateway.fhir.asked import is_given_here
from gateway.fhir.coding import DCM
from gateway.fhir.primitives import Json, clean, person, without_empty
from gateway.model.ids import is_uid
from gateway.model.order import Order
from gateway.model.study import Study

UID_SYSTEM = "urn:dicom:uid"
IDENTIFIER_TYPE = "http://terminology.hl7.org/CodeSystem/v2-0203"

_ABSENT = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"
_STUDY_UID_TYPE = {"coding": [{"system": DCM, "code": "110180", "display": "Study Instance UID"}]}

Knows = Callable[[str], bool]
"""Whether references of an order from that source mean the same on the server told."""


def study_identifier(study_uid: str) -> Json:
    """Source: FHIR R4 imagingstudy.html 8.13.3; IHE RAD IMR, ImagingStudy.identifier."""
    return {"type": _STUDY_UID_TYPE, "system": UID_SYSTEM, "value": f"urn:oid:{study_uid}"}


def identifiers(study_uid: str, study: Study | None, orders: tuple[Order, ...]) -> list[Json]:
    """The study's UID, then each accession number: the orders', which win over what the machine says."""
    found = [{"use": "official", **study_identifier(study_uid)}]
    accessions = [{"use": "usual", **_accession(order, study)} for order in orders if clean(order.accession)]
    if not accessions and study is not None and clean(study.accession):
        issuer = study.facts.accession_issuer
        accessions = [{"use": "usual", **_typed("ACSN", clean(study.accession)), **issued_by(issuer)}]
    for one in accessions:
        if one not in found:
            found.append(one)
    return found


def issued_by(issuer: str) -> Json:
    """An issuer that is a UID or URI is a FHIR system; another is only a name."""
    name = clean(issuer)
    if is_uid(name) and "." in name:
        return {"system": f"urn:oid:{name}"}
    if name.startswith(("urn:", "http://", "https://")) and " " not in name:
        return {"system": name}
    return {"assigner": {"display": name}} if name else {}


def subject(study: Study | None, orders: tuple[Order, ...], knows: Knows) -> Json:
    """The patient's address on the server when an order brought it, else the patient's identifier."""
    for order in orders:
        if order.subject and knows(order.source) and not is_given_here(order.subject):
            return {"reference": order.subject, "type": "Patient"}
    people = [(order.patient.patient_id, order.patient.issuer) for order in orders]
    if study is not None:
        people.append((study.patient_id, study.issuer))
    for patient_id, issuer in people:
        if clean(patient_id):
            identifier = {**_typed("MR", clean(patient_id)), **issued_by(issuer)}
            return {"type": "Patient", "identifier": identifier}
    return {"type": "Patient", "extension": [{"url": _ABSENT, "valueCode": "unknown"}]}


def based_on(study: Study | None, orders: tuple[Order, ...], knows: Knows) -> list[Json]:
    """The orders, by address where it is known there, and by accession or placer number."""
    found: list[Json] = []
    for order in orders:
        number: Json = {}
        if clean(order.accession):
            number = _accession(order, study)
        elif clean(order.placer):
            number = _typed("PLAC", clean(order.placer))
        address = order.service_request if knows(order.source) else ""
        address = "" if is_given_here(address) else address
        reference = without_empty({"reference": address, "identifier": number})
        if reference and (linked := {**reference, "type": "ServiceRequest"}) not in found:
            found.append(linked)
    return found


def encounter(orders: tuple[Order, ...], knows: Knows) -> Json:
    """The visit, when the orders name one and only one: by its address on the server, and by its number."""
    by_number = _numbered_visit(orders)
    addresses = {order.encounter if knows(order.source) else "" for order in orders}
    if len(addresses) != 1 or not (address := addresses.pop()) or is_given_here(address):
        return by_number
    return {"reference": address, "type": "Encounter", **by_number}


def _numbered_visit(orders: tuple[Order, ...]) -> Json:
    """Source: HL7 table 0203, VN."""
    visits = {
        (_attribute(order, "AdmissionID"), _issuer_of(order, "IssuerOfAdmissionIDSequence"))
        for order in orders
    }
    visits = {visit for visit in visits if visit[0]}
    if len(visits) != 1:
        return {}
    ((number, issuer),) = visits
    return {"type": "Encounter", "identifier": {**_typed("VN", number), **issued_by(issuer)}}


def referrer(study: Study | None, orders: tuple[Order, ...]) -> Json:
    """Who asked for it, by name."""
    names = [order.referring for order in orders]
    if study is not None:
        names.append(study.facts.referring)
    return practitioner(next((name for name in names if person(name)), ""))


def practitioner(name: str) -> Json:
    """A physician or technologist of whom only the name is known; empty when not even that."""
    display = person(name)
    return {"type": "Practitioner", "display": display} if display else {}


def reasons(orders: tuple[Order, ...]) -> Iterator[str]:
    """Why the examination was asked for, each reason once."""
    told = (_attribute(order, "ReasonForTheRequestedProcedure") for order in orders)
    return iter(dict.fromkeys(text for text in told if text))


def _accession(order: Order, study: Study | None) -> Json:
    issuer = _issuer_of(order, "IssuerOfAccessionNumberSequence")
    if not issuer and study is not None and study.accession == order.accession:
        issuer = study.facts.accession_issuer
    return {**_typed("ACSN", clean(order.accession)), **issued_by(issuer)}


def _issuer_of(order: Order, keyword: str) -> str:
    """Source: DICOM PS3.3 10.14, HL7v2 Hierarchic Designator Macro."""
    for item in order.attributes.get(keyword, ()):
        if not isinstance(item, str):
            for name in ("UniversalEntityID", "LocalNamespaceEntityID"):
                value = item.get(name, "")
                if isinstance(value, str) and clean(value):
                    return clean(value)
    return ""


def _attribute(order: Order, keyword: str) -> str:
    value = order.attributes.get(keyword, "")
    return clean(value) if isinstance(value, str) else ""


def _typed(code: str, value: str) -> Json:
    """Source: HL7 table 0203."""
    return {"type": {"coding": [{"system": IDENTIFIER_TYPE, "code": code}]}, "value": value}
