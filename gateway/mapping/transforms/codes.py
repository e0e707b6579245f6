"""Transforms that make items of code sequences.

Source: DICOM PS3.3 8.8 and PS3.16 8 (coding schemes); HL7 v2.5.1 2.A.13 (CWE) and table 0396; FHIR R4 Coding.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from gateway.mapping.scope import Data, Datum, Element, Piece, text_of
from gateway.mapping.transforms.shape import Apply, Arguments, Parameter, Setting, Transform, whole

LOCAL = "99LOC"
"""The designator of codes whose scheme has no name that DICOM could carry."""

SCHEMES: Mapping[str, str] = {
    "http://loinc.org": "LN",
    "http://snomed.info/sct": "SCT",
    "http://dicom.nema.org/resources/ontology/DCM": "DCM",
    "http://unitsofmeasure.org": "UCUM",
    "http://www.radlex.org": "RADLEX",
    "http://radlex.org": "RADLEX",
    "http://terminology.hl7.org/CodeSystem/umls": "UMLS",
    "http://www.ama-assn.org/go/cpt": "C4",
    "http://hl7.org/fhir/sid/icd-10": "I10",
    "http://hl7.org/fhir/sid/icd-10-cm": "I10",
    "http://hl7.org/fhir/sid/icd-9-cm": "I9C",
    "urn:iso:std:iso:11073:10101": "MDC",
    "urn:oid:2.16.840.1.113883.6.96": "SCT",
    "urn:oid:2.16.840.1.113883.6.1": "LN",
    "L": LOCAL,
    "LOCAL": LOCAL,
    "CPT": "C4",
    "CPT4": "C4",
    "CPT-4": "C4",
    "LOINC": "LN",
    "SNOMED": "SCT",
    "SNOMED-CT": "SCT",
    "SNOMEDCT": "SCT",
    "SNM": "SNM3",
}


def designator(system: str) -> str:
    """The DICOM coding scheme designator of an HL7 table 0396 code or a FHIR system; LOCAL when it has none."""
    bare = system.strip()
    known = SCHEMES.get(bare) or SCHEMES.get(bare.upper())
    if known:
        return known
    is_short = 0 < len(bare) <= 16 and "\\" not in bare and bare.isprintable()
    return bare if is_short and ":" not in bare else LOCAL


def code_item(code: str, system: str, meaning: str, limit: int) -> Element | None:
    """One item of a code sequence; None without a code. `limit` cuts the meaning, 0 leaves it whole.

    A code that is too long for Code Value goes where DICOM wants it. Source: DICOM PS3.3 8.8.
    """
    value = code.strip()
    if not value:
        return None
    text = " ".join(meaning.replace("\\", "/").split()) or value
    cut = text[:limit].rstrip() if limit else text
    if value.startswith("urn:"):
        return {"URNCodeValue": value, "CodeMeaning": cut}
    keyword = "CodeValue" if len(value) <= 16 else "LongCodeValue"
    return {keyword: value, "CodingSchemeDesignator": designator(system), "CodeMeaning": cut}


def _code(arguments: Arguments, setting: Setting) -> Apply:
    limit = int(arguments["truncate"])
    return whole(lambda data: _items(data, limit, system=""))


def _coding(arguments: Arguments, setting: Setting) -> Apply:
    limit = int(arguments["truncate"])
    return whole(lambda data: _items(data, limit, system=arguments["system"]))


def _code_alt(arguments: Arguments, setting: Setting) -> Apply:
    limit = int(arguments["truncate"])

    def items(data: Data) -> Data:
        made = (_triple(datum, 4, limit) for datum in data if isinstance(datum, Piece))
        return tuple(item for item in made if item)

    return whole(items)


def _items(data: Data, limit: int, *, system: str) -> Data:
    made = (item for datum in data for item in _items_of(datum, limit, system))
    return tuple(item for item in made if item)


def _items_of(datum: Datum, limit: int, system: str) -> Iterator[Element | None]:
    if isinstance(datum, Piece):
        item = _triple(datum, 1, limit) or _triple(datum, 4, limit)
        scheme = designator(system) if system else ""
        if item and (not scheme or item.get("CodingSchemeDesignator") == scheme):
            yield item
    elif isinstance(datum, Mapping):
        yield from _fhir_items(datum, limit, system)
    elif not system:
        yield code_item(text_of(datum), "", "", limit)


def _triple(piece: Piece, first: int, limit: int) -> Element | None:
    code, meaning, system = piece.texts(first + 2)[-3:]
    return code_item(code, system, meaning, limit)


def _fhir_items(element: Element, limit: int, system: str) -> Iterator[Element | None]:
    """Items of a Coding, or of every Coding of a CodeableConcept."""
    codings = element.get("coding")
    for coding in codings if isinstance(codings, list) else [element]:
        if isinstance(coding, Mapping) and (not system or coding.get("system") == system):
            yield code_item(
                _text(coding.get("code")),
                _text(coding.get("system")),
                _text(coding.get("display")) or _text(element.get("text")),
                limit,
            )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


_MODALITY_BY_METHOD = {
    "CT": "CT", "MR": "MR", "MRI": "MR", "US": "US", "XR": "DX", "NM": "NM", "MG": "MG", "PT": "PT", "PET": "PT",
    "RF": "RF", "DXA": "BMD", "XA": "XA", "CR": "CR", "DX": "DX",
}  # fmt: skip
"""How the names of LOINC, the RadLex Playbook and most catalogues begin -> DICOM modality (PS3.16 CID 29)."""

_MODALITY_BY_SNOMED = {
    "77477000": "CT", "113091000": "MR", "16310003": "US", "168537006": "DX", "71651007": "MG", "44491008": "RF",
    "82918005": "PT", "363680008": "DX", "363679005": "",
}  # fmt: skip
"""SNOMED CT imaging procedures; what is imaging of any kind tells nothing."""

_MODALITY_BY_CPT = ((76506, 76999, "US"), (77046, 77049, "MR"), (77065, 77067, "MG"), (78012, 78799, "NM"))
"""CPT ranges that belong to one kind of machine alone."""


def _modalities(data: Data) -> Data:
    items = [item for item in _items(data, 0, system="") if isinstance(item, Mapping)]
    found = (_modality_of(item) for item in items)
    return tuple(next(([modality] for modality in found if modality), []))


def _modality_of(item: Element) -> str:
    """The modality that an item of a code sequence speaks of; empty when it does not say."""
    code, scheme = item.get("CodeValue", ""), item.get("CodingSchemeDesignator", "")
    if scheme == "DCM":
        return code if code in set(_MODALITY_BY_METHOD.values()) else ""
    if scheme == "SCT" and code in _MODALITY_BY_SNOMED:
        return _MODALITY_BY_SNOMED[code]
    if scheme == "C4" and code.isascii() and code.isdecimal():
        ranges = (modality for low, high, modality in _MODALITY_BY_CPT if low <= int(code) <= high)
        if known := next(ranges, ""):
            return known
    words = str(item.get("CodeMeaning", "")).replace("-", " ").split()
    return _MODALITY_BY_METHOD.get(words[0].upper(), "") if words else ""


_TRUNCATE = Parameter(name="truncate", is_number=True, default="0")

TRANSFORMS = (
    Transform(
        name="code",
        about="items of a code sequence, from a coded HL7 field or a FHIR concept",
        make=_code,
        parameters=(_TRUNCATE,),
    ),
    Transform(
        name="code_alt",
        about="the alternate code (components 4 to 6) of a coded HL7 field",
        make=_code_alt,
        parameters=(_TRUNCATE,),
    ),
    Transform(
        name="coding",
        about="only the codes of one system",
        make=_coding,
        parameters=(Parameter(name="system"), _TRUNCATE),
    ),
    Transform(
        name="modality_from_code",
        about="the modality that a coded procedure speaks of: a DCM code, a SNOMED or CPT code of one kind of machine,"
        " or a name that begins with one (CT Head, US-Abdomen); nothing when it does not say",
        make=lambda a, s: whole(_modalities),
    ),
)
