"""The elements of FHIR resources and types, by name, as the FHIRPath library knows them, and where references lead.

The library's own tables are in memory anyway; a test holds them against fhir.resources.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from fhirpathpy.models import models


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What a part of an expression may be: a type of FHIR, and the element it was read from ("" for none)."""

    type: str
    element: str = ""


@cache
def parts_of(kind: str, release: str) -> Mapping[str, frozenset[Kind]]:
    """The parts of a type of a release ("r4", "r5"), those of what it is derived from included.

    An element that is known by its parts only, such as `Timing.repeat`, is a type of its own.
    """
    derived_from = models[release]["type2Parent"]
    holders = [kind]
    while holders[-1] in derived_from:
        holders.append(derived_from[holders[-1]])
    if "." in kind or not _names(release)[kind]:
        holders += ["BackboneElement", "Element"] if "." in kind else ["Element"]
    return {
        name: _kinds(f"{holder}.{name}", release)
        for holder in reversed(holders)
        for name in _names(release)[holder]
    }


@cache
def _names(release: str) -> Mapping[str, frozenset[str]]:
    """The names of the parts of every type."""
    model = models[release]
    found: dict[str, set[str]] = defaultdict(set)
    for table in ("path2Type", "pathsDefinedElsewhere", "choiceTypePaths"):
        for path in model[table]:
            holder, _, name = path.rpartition(".")
            while holder and name not in found[holder]:
                found[holder].add(name)
                holder, _, name = holder.rpartition(".")
    if release == "r4":
        found["Extension"].update(_ADDED_IN_R4B)
    return defaultdict(frozenset, {holder: frozenset(names) for holder, names in found.items()})


def _kinds(path: str, release: str) -> frozenset[Kind]:
    model = models[release]
    if path in model["path2Type"]:
        return frozenset({Kind(type=model["path2Type"][path].removeprefix("System."), element=path)})
    if path in model["choiceTypePaths"]:
        choices = (_kinds(path + kind, release) for kind in model["choiceTypePaths"][path])
        return frozenset().union(*choices)
    if path.startswith("Extension.value"):  # what R4B added: of types that R4 does not describe
        return frozenset({Kind(type="Element")})
    return frozenset({Kind(type=model["pathsDefinedElsewhere"].get(path, path))})


@cache
def types(release: str) -> frozenset[str]:
    """The names of all types and resources."""
    known = models[release]["type2Parent"]
    simple = {kind.removeprefix("System.") for kind in models[release]["path2Type"].values()}
    return frozenset({*known, *known.values(), *simple, *_SYSTEM} - {None})


def is_a(kind: str, base: str, release: str) -> bool:
    """Whether a type is `base` or derived from it."""
    at: str | None = kind
    while at and at != base:
        at = models[release]["type2Parent"].get(at)
    return at == base


def targets(element: str) -> frozenset[str]:
    """The types of resource that the references of an element lead to; none when any or it is not known."""
    return _targets().get(element, frozenset())


@cache
def _targets() -> Mapping[str, frozenset[str]]:
    entries = (entry.partition(":") for entry in REFERENCES.split(";") if entry.strip())
    return {element.strip(): frozenset(kinds.split()) for element, _, kinds in entries}


_ADDED_IN_R4B = ("valueCodeableReference", "valueRatioRange")
_SYSTEM = frozenset({"Boolean", "String", "Integer", "Decimal", "Date", "DateTime", "Time", "Quantity"})

REFERENCES = """
Appointment.basedOn: CarePlan DeviceRequest MedicationRequest ServiceRequest;
Appointment.originatingAppointment: Appointment;
Appointment.participant.actor: CareTeam Device Group HealthcareService Location Patient Practitioner
    PractitionerRole RelatedPerson;
Appointment.previousAppointment: Appointment;
Appointment.replaces: Appointment;
Appointment.subject: Group Patient;
Encounter.admission.destination: Location Organization;
Encounter.admission.origin: Location Organization;
Encounter.appointment: Appointment;
Encounter.basedOn: CarePlan DeviceRequest MedicationRequest ServiceRequest;
Encounter.hospitalization.destination: Location Organization;
Encounter.hospitalization.origin: Location Organization;
Encounter.location.location: Location;
Encounter.partOf: Encounter;
Encounter.participant.actor: Device Group HealthcareService Patient Practitioner PractitionerRole
    RelatedPerson;
Encounter.participant.individual: Practitioner PractitionerRole RelatedPerson;
Encounter.serviceProvider: Organization;
Encounter.subject: Group Patient;
Location.managingOrganization: Organization;
Location.partOf: Location;
Organization.partOf: Organization;
Organization.qualification.issuer: Organization;
Patient.contact.organization: Organization;
Patient.generalPractitioner: Organization Practitioner PractitionerRole;
Patient.link.other: Patient RelatedPerson;
Patient.managingOrganization: Organization;
Practitioner.qualification.issuer: Organization;
PractitionerRole.location: Location;
PractitionerRole.organization: Organization;
PractitionerRole.practitioner: Practitioner;
ServiceRequest.basedOn: CarePlan MedicationRequest ServiceRequest;
ServiceRequest.encounter: Encounter;
ServiceRequest.location: Location;
ServiceRequest.locationReference: Location;
ServiceRequest.performer: CareTeam Device HealthcareService Organization Patient Practitioner
    PractitionerRole RelatedPerson;
ServiceRequest.replaces: ServiceRequest;
ServiceRequest.requester: Device Organization Patient Practitioner PractitionerRole RelatedPerson;
ServiceRequest.subject: Device Group Location Patient;
Task.encounter: Encounter;
Task.location: Location;
Task.owner: CareTeam Device HealthcareService Organization Patient Practitioner PractitionerRole
    RelatedPerson;
Task.partOf: Task;
Task.performer.actor: CareTeam Organization Patient Practitioner PractitionerRole RelatedPerson;
Task.requestedPerformer: CareTeam Device HealthcareService Organization Patient Practitioner
    PractitionerRole RelatedPerson;
Task.requester: Device Organization Patient Practitioner PractitionerRole RelatedPerson;
Task.restriction.recipient: Group Organization Patient Practitioner PractitionerRole RelatedPerson;
"""
"""Where references lead, R4B and R5 together; what may lead anywhere is left out. Source: FHIR R4B and R5 resources."""
