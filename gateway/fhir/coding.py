"""Coded concepts: DICOM's coding scheme designators as FHIR's systems.

Source: DICOM PS3.16 8, table 8-1; FHIR R4 terminologies-systems.html; HL7 terminology (THO).
"""

from collections.abc import Iterable
from typing import Final

from gateway.fhir.anatomy import SIDES, body_part
from gateway.fhir.primitives import Json, clean, token, without_empty
from gateway.imaging.snomed import normal
from gateway.model.measurement import Code

DCM: Final = "http://dicom.nema.org/resources/ontology/DCM"
SCT: Final = "http://snomed.info/sct"
LOINC: Final = "http://loinc.org"
UCUM: Final = "http://unitsofmeasure.org"

SYSTEMS: Final = {
    "LN": LOINC,
    "SCT": SCT,
    "DCM": DCM,
    "UCUM": UCUM,
    "RADLEX": "http://www.radlex.org",
    "UMLS": "http://terminology.hl7.org/CodeSystem/umls",
    "NCIt": "http://ncicb.nci.nih.gov/xml/owl/EVS/Thesaurus.owl",
    "FMA": "http://purl.org/sig/ont/fma",
    "MDC": "urn:iso:std:iso:11073:10101",
    "I10": "http://hl7.org/fhir/sid/icd-10",
    "I10P": "http://www.cms.gov/Medicare/Coding/ICD10",
    "I9": "http://hl7.org/fhir/sid/icd-9-cm",
    "C4": "http://www.ama-assn.org/go/cpt",
    "RXNORM": "http://www.nlm.nih.gov/research/umls/rxnorm",
    "NDC": "http://hl7.org/fhir/sid/ndc",
}
"""FHIR's system by designator. A designator that is not here never becomes a system: its concepts are texts."""


def coding(code: Code) -> Json:
    """A Coding; of a private or unknown scheme only what it means, which another system may show."""
    known = normal(code)
    system, value = SYSTEMS.get(known.scheme), token(known.value)
    if system is None or not value:
        return without_empty({"display": clean(code.meaning) or clean(code.value)})
    return without_empty({"system": system, "code": value, "display": clean(known.meaning)})


def concept(code: Code) -> Json:
    """A CodeableConcept; of a private or unknown scheme its text alone."""
    found = coding(code)
    return {"coding": [found]} if "code" in found else without_empty({"text": found.get("display", "")})


def concepts(codes: Iterable[Code]) -> list[Json]:
    """Each concept once."""
    found: list[Json] = []
    for code in codes:
        one = concept(code)
        if one and one not in found:
            found.append(one)
    return found


def as_concept(found: Json) -> Json:
    """A Coding as the CodeableConcept that R5 has in its place."""
    if "code" in found:
        return {"coding": [found]}
    return without_empty({"text": found.get("display", "")})


def side(laterality: str) -> Json:
    """A laterality (0020,0060) as a Coding; empty for what is unpaired or not said."""
    found = SIDES.get(laterality.strip().upper())
    return {"system": SCT, "code": found[0], "display": found[1]} if found else {}


def site(examined: str, region: Code | None) -> Json:
    """The body part as a Coding: the coded region, else the word where it is one of DICOM's."""
    coded = coding(region) if region is not None else {}
    if "code" in coded:
        return coded
    found = body_part(examined)
    if found is not None:
        return {"system": SCT, "code": found[0], "display": found[1]}
    return coded or without_empty({"display": clean(examined)})
