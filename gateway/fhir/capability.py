"""What the gateway can do for one source, as a CapabilityStatement."""

from datetime import datetime
from typing import Any

from gateway.fhir.auth import Basic, Bearer, Header, Source
from gateway.fhir.issuer import Issuer
from gateway.fhir.pushing import Addresses, ClientCertificate, PathSecret, Signature
from gateway.mapping.fhir_paths import ORDERS

FHIR_VERSIONS = {"R4": "4.0.1", "R4B": "4.3.0", "R5": "5.0.0"}

_WORDS = {
    Bearer: "a bearer token",
    Basic: "a user and a password",
    Header: "a header with a secret",
    Signature: "a signature of the body",
    PathSecret: "a secret in the address",
    ClientCertificate: "a client certificate",
    Addresses: "a known address",
    Issuer: "a token signed by a known issuer",
}
_INTERACTIONS = ("read", "create", "update", "delete", "search-type")
_BESIDE = ("Patient", "Encounter", "Practitioner", "PractitionerRole", "Organization", "Location", "Device")
_PROCESS_MESSAGE = "http://hl7.org/fhir/OperationDefinition/MessageHeader-process-message"
_SERVICES = "http://terminology.hl7.org/CodeSystem/restful-security-service"


def render_capability(source: Source, *, at: datetime, address: str) -> dict[str, Any]:
    """The CapabilityStatement for `source`, whose base is `address`. Source: FHIR R4 CapabilityStatement."""
    rest: dict[str, Any] = {
        "mode": "server",
        "documentation": "Imaging orders are taken, and what belongs to them; a sender reads what it sent.",
        "resource": [
            {
                "type": kind,
                "interaction": [{"code": code} for code in _INTERACTIONS],
                "versioning": "no-version",
                "updateCreate": True,
                "conditionalCreate": True,
                "searchParam": [
                    {"name": "identifier", "type": "token"},
                    {"name": "_id", "type": "token"},
                ],
            }
            for kind in (*ORDERS, *_BESIDE)
        ],
        "interaction": [{"code": "transaction"}, {"code": "batch"}],
        "operation": [{"name": "process-message", "definition": _PROCESS_MESSAGE}],
    }
    if source.auth:
        rest["security"] = {"service": _services(source)}
    return {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": at.isoformat(timespec="seconds"),
        "kind": "instance",
        "software": {"name": "Imaging order gateway"},
        "implementation": {"description": f"Imaging orders from {source.name}", "url": address},
        "fhirVersion": FHIR_VERSIONS[source.release],
        "format": ["application/fhir+json", "json"],
        "rest": [rest],
    }


def _services(source: Source) -> list[dict[str, Any]]:
    """The kinds of proof of each way in, once each; no word of the secrets."""
    texts = dict.fromkeys(" and ".join(_WORDS[type(proof)] for proof in way) for way in source.auth)
    is_basic = any(isinstance(proof, Basic) for way in source.auth for proof in way)
    coded = {"coding": [{"system": _SERVICES, "code": "Basic"}]} if is_basic else {}
    first, *others = [{"text": text} for text in texts]
    return [{**coded, **first}, *others]
