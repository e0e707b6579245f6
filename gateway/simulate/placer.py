"""The other half of the simulated EHR: it orders examinations by pushing FHIR ServiceRequests."""

import json
from dataclasses import dataclass

import httpx

from gateway.model.errors import Refused, Unavailable
from gateway.simulate.exams import AUTHORITY, Exam
from gateway.simulate.resources import Json

MEDIA_TYPE = "application/fhir+json"
TIMEOUT_S = 30.0

_V2_0203 = "http://terminology.hl7.org/CodeSystem/v2-0203"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the gateway said to an order."""

    status: int
    body: bytes

    @property
    def is_accepted(self) -> bool:
        """Whether the order was taken."""
        return self.status in (200, 201, 202)


def service_request(exam: Exam, *, request_id: str) -> Json:
    """An R4 ServiceRequest that orders `exam`, its patient contained."""
    return {
        "resourceType": "ServiceRequest",
        "id": request_id,
        "contained": [_patient(exam)],
        "identifier": [_typed("PLAC", exam.number), _typed("ACSN", exam.accession)],
        "status": "active",
        "intent": "order",
        "category": [{"coding": [_coding("http://snomed.info/sct", "363679005", "Imaging")]}],
        "priority": "stat" if exam.priority == "S" else "routine",
        "code": {
            "coding": [_coding("urn:oid:2.25.311", exam.code.value, exam.code.meaning)],
            "text": exam.code.meaning,
        },
        "orderDetail": [
            {"coding": [_coding("http://dicom.nema.org/resources/ontology/DCM", exam.modality, "Ultrasound")]}
        ],
        "subject": {"reference": "#patient"},
        "occurrenceDateTime": exam.start.isoformat(timespec="seconds"),
        "requester": {"display": ", ".join(exam.referrer[1:])},
        "reasonCode": [{"text": exam.reason}],
    }


def push(
    resource: Json, gateway: str, source: str, *, token: str | None = None, timeout_s: float = TIMEOUT_S
) -> Answer:
    """What the gateway at the address `gateway` said to a resource posted to /fhir/{source}.

    Raises Unavailable when it cannot be reached.
    """
    headers = {"Content-Type": MEDIA_TYPE, "Accept": MEDIA_TYPE}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    try:
        answer = httpx.post(
            f"{gateway}/fhir/{source}", content=json.dumps(resource), headers=headers, timeout=timeout_s
        )
    except httpx.TransportError as error:
        raise Unavailable(f"gateway: {type(error).__name__}") from error
    return Answer(status=answer.status_code, body=answer.content)


def fhir_release(base: str, *, timeout_s: float = TIMEOUT_S) -> str:
    """The FHIR version that the server at `base` says it speaks, "4.0.1". Raises Unavailable, Refused."""
    try:
        answer = httpx.get(f"{base}/metadata", headers={"Accept": MEDIA_TYPE}, timeout=timeout_s)
    except httpx.TransportError as error:
        raise Unavailable(f"FHIR server: {type(error).__name__}") from error
    if answer.is_error:
        raise Refused(f"metadata: HTTP {answer.status_code}")
    return str(answer.json().get("fhirVersion", ""))


def _patient(exam: Exam) -> Json:
    identifier = {"type": {"coding": [_coding(_V2_0203, "MR")]}, "value": exam.patient_id}
    identifier |= {"system": f"urn:id:{AUTHORITY}", "assigner": {"display": AUTHORITY}}
    date = exam.birth_date
    return {
        "resourceType": "Patient",
        "id": "patient",
        "identifier": [identifier],
        "name": [{"use": "official", "family": exam.name[0], "given": list(exam.name[1:])}],
        "gender": {"M": "male", "F": "female"}.get(exam.sex, "other"),
        "birthDate": f"{date[:4]}-{date[4:6]}-{date[6:]}",
    }


def _typed(code: str, value: str) -> Json:
    return {
        "type": {"coding": [_coding(_V2_0203, code)]},
        "system": f"urn:id:{AUTHORITY}:{code}",
        "value": value,
    }


def _coding(system: str, code: str, display: str | None = None) -> Json:
    return {"system": system, "code": code} | ({"display": display} if display else {})
