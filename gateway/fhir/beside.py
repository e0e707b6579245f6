"""What may be told beside a study: where its images are served, a preliminary report, where the news comes from.

Source: FHIR R4 and R5 endpoint.html, diagnosticreport.html, provenance.html; IHE RAD IMR, Endpoint.
"""

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from gateway.fhir import parties
from gateway.fhir.coding import DCM, LOINC
from gateway.fhir.destination import Destination
from gateway.fhir.imaging_study import started
from gateway.fhir.parties import UID_SYSTEM
from gateway.fhir.primitives import Json, instant, without_empty
from gateway.model.order import Order
from gateway.model.study import Study
from gateway.model.zones import read_offset

REPORT_SYSTEM = "urn:imaging-order-gateway:report"
"""Of the identifiers of reports: each is the Study Instance UID."""

URI_SYSTEM = "urn:ietf:rfc:3986"

_CONNECTIONS = "http://terminology.hl7.org/CodeSystem/endpoint-connection-type"
_PAYLOAD = {"coding": [{"system": DCM, "code": "113014", "display": "Study"}]}
_MIME_TYPES = ["application/dicom", "application/dicom+json"]
_RADIOLOGY = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0074", "code": "RAD"}]}
_IMAGING = {"coding": [{"system": LOINC, "code": "18726-0", "display": "Radiology studies (set)"}]}
_REPORT = {"coding": [{"system": LOINC, "code": "18748-4", "display": "Diagnostic imaging study"}]}
_OPERATIONS = "http://terminology.hl7.org/CodeSystem/v3-DataOperation"
_PARTICIPANTS = "http://terminology.hl7.org/CodeSystem/provenance-participant-type"
_GATEWAY = {"type": "Device", "display": "Imaging order gateway"}


def render_endpoint(destination: Destination) -> Json:
    """The DICOMweb service that the images of every study can be had from."""
    connection = {"system": _CONNECTIONS, "code": "dicom-wado-rs", "display": "DICOM WADO-RS"}
    kinds: dict[str, Any] = (
        {
            "connectionType": [{"coding": [connection]}],
            "payload": [{"type": [_PAYLOAD], "mimeType": _MIME_TYPES}],
        }
        if destination.is_r5
        else {"connectionType": connection, "payloadType": [_PAYLOAD], "payloadMimeType": _MIME_TYPES}
    )
    return {
        "resourceType": "Endpoint",
        "identifier": [{"system": URI_SYSTEM, "value": destination.dicomweb_url}],
        "status": "active",
        **kinds,
        "name": "DICOMweb",
        "address": destination.dicomweb_url,
    }


def render_report(
    study: Study,
    orders: tuple[Order, ...],
    destination: Destination,
    zone: ZoneInfo,
    *,
    status: str,
    part_of: str,
    results: list[str],
) -> Json:
    """A DiagnosticReport that gathers what was measured, and says nothing of its own."""
    own = read_offset(study.facts.zone_offset) or zone
    elements: dict[str, Any] = {
        "resourceType": "DiagnosticReport",
        "identifier": [{"use": "official", "system": REPORT_SYSTEM, "value": f"urn:oid:{study.study_uid}"}],
        "basedOn": parties.based_on(study, orders, destination.knows),
        "status": "entered-in-error" if study.doubt else status,
        "category": [_RADIOLOGY, _IMAGING],
        "code": _REPORT,
    }
    if study.doubt:
        del elements["basedOn"]
        return elements
    elements |= {
        "subject": parties.subject(study, orders, destination.knows),
        "encounter": parties.encounter(orders, destination.knows),
        "effectiveDateTime": started(study, own),
        "study" if destination.is_r5 else "imagingStudy": [{"reference": part_of, "type": "ImagingStudy"}],
        "result": [{"reference": result, "type": "Observation"} for result in results],
    }
    return without_empty(elements)


def render_provenance(
    study: Study,
    orders: tuple[Order, ...],
    destination: Destination,
    zone: ZoneInfo,
    *,
    recorded: datetime,
    targets: list[str],
) -> Json:
    """Who made the resources and from which orders. It has no identifier: a tag with the study's UID finds it."""
    author = {"coding": [{"system": _PARTICIPANTS, "code": "assembler", "display": "Assembler"}]}
    sources = [] if study.doubt else parties.based_on(study, orders, destination.knows)
    elements: dict[str, Any] = {
        "resourceType": "Provenance",
        "meta": {"tag": [{"system": UID_SYSTEM, "code": f"urn:oid:{study.study_uid}"}]},
        "target": [{"reference": target} for target in targets],
        "recorded": instant(recorded, zone),
        "activity": {"coding": [{"system": _OPERATIONS, "code": "UPDATE", "display": "revise"}]},
        "agent": [{"type": author, "who": _GATEWAY}],
        "entity": [{"role": "source", "what": source} for source in sources],
    }
    return without_empty(elements)
