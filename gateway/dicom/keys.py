"""A machine's C-FIND identifier as keys, and the keys as a query of ours.

Rules where PS3.4 leaves a choice, or where machines do as they like:

- A value of asterisks only is universal, whatever its VR. Elsewhere `*` and `?` are wildcards except in dates, times,
  UIDs, numbers and binary values, where they are characters.
- A date or time that cannot be read is refused (0xA900): an empty list would say "nobody is to be examined".
- Keys of the Scheduled Procedure Step Sequence that stand at the top level count as if they stood in it.
- Of several items in a key sequence the first counts. No item, or an empty one, is universal.
- Keys outside the information model (PS3.4 table K.6-1), private ones, group lengths and Query/Retrieve Level do not
  narrow the list.
- A time of less precision is its whole span: `10` is 10:00:00 to 10:59:59, and so is it as the end of a range.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta, timezone
from io import BytesIO
from typing import Final, NoReturn

from pydicom.datadict import dictionary_VR, keyword_for_tag

from gateway.dicom import charset
from gateway.dicom.elements import ALL, Element, Syntax, read_elements
from gateway.dicom.encoding import TEXT_VRS
from gateway.model.errors import Malformed
from gateway.model.worklist import Match, Range, WorklistQuery

STEPS: Final = "ScheduledProcedureStepSequence"
STEP_KEYS: Final = frozenset(
    {
        "Modality", "RequestedContrastAgent", "ScheduledStationAETitle", "ScheduledProcedureStepStartDate",
        "ScheduledProcedureStepStartTime", "ScheduledProcedureStepEndDate", "ScheduledProcedureStepEndTime",
        "ScheduledPerformingPhysicianName", "ScheduledPerformingPhysicianIdentificationSequence",
        "ScheduledProcedureStepDescription", "ScheduledProtocolCodeSequence", "ScheduledProcedureStepID",
        "ScheduledStationName", "ScheduledProcedureStepLocation", "PreMedication",
        "ScheduledProcedureStepStatus", "CommentsOnTheScheduledProcedureStep", "ScheduledSpecimenSequence",
        "AnatomicalOrientationType",
    }
)  # fmt: skip  # Source: DICOM PS3.4 table K.6-1, Scheduled Procedure Step
NEVER_RETURNED: Final = frozenset({"SpecificCharacterSet", "QueryRetrieveLevel"})

_NO_WILDCARDS = frozenset(
    {
        "AS", "AT", "DA", "DS", "DT", "FD", "FL", "IS", "OB", "OD", "OF", "OL", "OV", "OW", "SL", "SQ",
        "SS", "SV", "TM", "UI", "UL", "UN", "US", "UV",
    }
)  # fmt: skip  # Source: DICOM PS3.4 C.2.2.2.4
_BINARY = frozenset(
    {
        "AT", "FD", "FL", "OB", "OD", "OF", "OL", "OV", "OW", "SL", "SS", "SV", "UL", "UN", "US", "UV",
    }
)  # fmt: skip
_CHARSET = 0x00080005
_ZONE = 0x00080201
_ONE_VALUE = frozenset({"LT", "ST", "UT", "UR"})  # a backslash is text there. Source: DICOM PS3.5 6.4
_MAX_PATTERNS = 400  # a database takes no condition of a thousand alternatives
_DATE = "ScheduledProcedureStepStartDate"
_TIME = "ScheduledProcedureStepStartTime"
_CODED = ("CodeValue", "CodingSchemeDesignator", "CodingSchemeVersion", "CodeMeaning")
_OTHERS = frozenset(
    {
        "ScheduledPerformingPhysicianName", "ScheduledProcedureStepDescription", "ScheduledStationName",
        "ScheduledProcedureStepLocation", "PreMedication", "ScheduledProcedureStepStatus",
        "RequestedContrastAgent", "RequestedProcedureDescription", "RequestedProcedurePriority",
        "PatientTransportArrangements", "ReferringPhysicianName", "RequestingPhysician",
        "RequestingService", "InstitutionName", "InstitutionalDepartmentName",
        "PlacerOrderNumberImagingServiceRequest", "FillerOrderNumberImagingServiceRequest", "AdmissionID",
        "CurrentPatientLocation", "PatientBirthDate", "PatientSex", "OtherPatientIDs",
        "ConfidentialityConstraintOnPatientDataDescription", "PatientState", "PregnancyStatus",
        "MedicalAlerts", "Allergies", "SpecialNeeds", "EthnicGroup",
        *(f"ScheduledProtocolCodeSequence.{key}" for key in _CODED),
        *(f"RequestedProcedureCodeSequence.{key}" for key in _CODED),
    }
)  # fmt: skip  # Source: DICOM PS3.4 table K.6-1
KEYWORDS: Final = STEP_KEYS | frozenset(
    {name for name in _OTHERS if "." not in name}
    | {
        "PatientName",
        "PatientID",
        "IssuerOfPatientID",
        "AccessionNumber",
        "StudyInstanceUID",
        "RequestedProcedureID",
    }
)  # what profiles speak of most
_DAY = re.compile(r"(\d{4})\.?(\d{2})\.?(\d{2})", re.ASCII)
_OFFSET = re.compile(r"([+-])(\d{2})([0-5]\d)", re.ASCII)
_CLOCK = re.compile(r"(\d{2})(?::?([0-5]\d)(?::?([0-5]\d|60)(?:\.\d{1,6})?)?)?", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One key as asked. `text` is empty for a universal key and for a sequence."""

    tag: int
    keyword: str
    vr: str
    text: str
    items: "tuple[tuple[Key, ...], ...]"

    @property
    def field(self) -> str:
        """How a message names it."""
        return f"{self.keyword} ({self.tag >> 16:04X},{self.tag & 0xFFFF:04X})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a machine asks: its keys in order, and the Specific Character Set of its request."""

    keys: tuple[Key, ...]
    charset: tuple[str, ...]
    zone: timezone | None = None  # that its dates and times are in; None: the site's


def read_keys(identifier: bytes, syntax: Syntax) -> Asked:
    """The keys of an encoded identifier. Raises Malformed when it cannot be read."""
    elements = read_elements(BytesIO(identifier), len(identifier), syntax, ALL)
    terms = next((charset.read_terms(e.value) for e in elements if e.tag == _CHARSET), ())
    keys = tuple(_keys(elements, terms))
    return Asked(keys=keys, charset=terms, zone=next((_zone(key) for key in keys if key.tag == _ZONE), None))


def query(keys: Sequence[Key], *, is_fuzzy: bool = False) -> WorklistQuery:
    """What the keys ask of our store, names of people more or less when `is_fuzzy`.

    Raises Malformed for a date or time that cannot be read.
    """
    found = dict(_conditions(keys, ""))
    matches = {name: _match(key) for name, key in found.items() if name not in (_DATE, _TIME)}
    return WorklistQuery(
        patient_name=matches.get("PatientName"),
        is_fuzzy=is_fuzzy and "PatientName" in matches,
        patient_id=matches.get("PatientID"),
        issuer=matches.get("IssuerOfPatientID"),
        accession=matches.get("AccessionNumber"),
        procedure_id=matches.get("RequestedProcedureID"),
        study_uid=matches.get("StudyInstanceUID"),
        station=matches.get("ScheduledStationAETitle"),
        modality=matches.get("Modality"),
        step_id=matches.get("ScheduledProcedureStepID"),
        date=_date_range(found[_DATE]) if _DATE in found else None,
        time=_time_range(found[_TIME]) if _TIME in found else None,
        others={name: match for name, match in matches.items() if name in _OTHERS and match.values},
    )


def _keys(elements: Iterable[Element], terms: Sequence[str]) -> Iterator[Key]:
    for element in elements:
        keyword = keyword_for_tag(element.tag)
        if not keyword or element.tag & 0xFFFF == 0 or keyword in NEVER_RETURNED:
            continue
        vr = dictionary_VR(element.tag).split(" or ")[0]
        items = tuple(tuple(_keys(item, terms)) for item in element.items) if vr == "SQ" else ()
        text = "" if vr == "SQ" else _read_text(element.value, vr, terms)
        yield Key(tag=element.tag, keyword=keyword, vr=vr, text=text, items=items)


def _read_text(value: bytes, vr: str, terms: Sequence[str]) -> str:
    """Binary keys match nothing of ours and count as universal. Source: DICOM PS3.5 6.1.2.2 for the default set."""
    if vr in _BINARY:
        return ""
    return charset.decode(value, terms if vr in TEXT_VRS else ()).replace("\0", "").strip()


def _conditions(keys: Iterable[Key], prefix: str) -> Iterator[tuple[str, Key]]:
    """The keys that narrow the list, by name; those of the scheduled step last, so that they win."""
    for key in sorted(keys, key=lambda key: key.keyword == STEPS):
        if key.vr == "SQ":
            inner = "" if key.keyword == STEPS else f"{prefix}{key.keyword}."
            yield from _conditions(key.items[0] if key.items else (), inner)
        elif key.text.strip("*\\ "):
            yield f"{prefix}{key.keyword}", key


def _match(key: Key) -> Match:
    texts = (key.text,) if key.vr in _ONE_VALUE else tuple(key.text.split("\\"))
    values = tuple(text.strip() for text in texts if text.strip())
    is_wild = key.vr not in _NO_WILDCARDS and any(char in value for value in values for char in "*?")
    if "*" in values and is_wild:
        return Match(values=("*",), is_wild=True, ignore_case=key.vr == "PN")
    if key.vr == "DA":
        return _match_day(key, values)
    if key.vr == "PN":
        values = tuple(form for value in values for form in _name_forms(value))
        is_wild = True
    if is_wild and len(values) > _MAX_PATTERNS:
        return _unreadable(key)
    return Match(values=values, is_wild=is_wild, ignore_case=key.vr == "PN")


def _name_forms(name: str) -> tuple[str, ...]:
    """The patterns under which a stored name equals `name`: empty components at its end and further groups do not
    count, and a name in another script may be any group. Source: DICOM PS3.5 6.2.1, PS3.4 C.2.2.2.1.
    """
    bare = name.rstrip("^= ")
    group = bare.rpartition("=")[2]
    missing = range(1 if bare.endswith("*") else 5 - min(4, group.count("^")))
    forms = [bare + "^" * count for count in missing]
    if not bare.endswith("*"):
        forms += [f"{form}=*" for form in forms]
    if "=" not in bare and not bare.isascii():
        forms += [f"*={form}" for form in forms]
    return tuple(forms)


def _match_day(key: Key, values: tuple[str, ...]) -> Match:
    """Days of other keys than the start, one by one. Ranges of them are not supported, and so are universal."""
    if any("-" in value for value in values):
        return Match(values=())
    return Match(values=tuple(_day(key, value) for value in values))


def _date_range(key: Key) -> Range:
    """Source: DICOM PS3.4 C.2.2.2.5.1."""
    first, last = _ends(key)
    return Range(first=_day(key, first) if first else "", last=_day(key, last) if last else "")


def _time_range(key: Key) -> Range:
    """Source: DICOM PS3.4 C.2.2.2.5.2."""
    first, last = _ends(key)
    return Range(
        first=_clock(key, first, "0000") if first else "", last=_clock(key, last, "5959") if last else ""
    )


def _ends(key: Key) -> tuple[str, str]:
    first, dash, last = (part.strip() for part in key.text.partition("-"))
    if not first and not last:
        return _unreadable(key)
    return first, last if dash else first


def _day(key: Key, text: str) -> str:
    """YYYYMMDD. The form with dots is of ACR-NEMA. Source: DICOM PS3.5 6.2, DA."""
    parts = _DAY.fullmatch(text)
    try:
        return date(*map(int, parts.groups())).strftime("%Y%m%d") if parts else _unreadable(key)
    except ValueError:
        return _unreadable(key)


def _clock(key: Key, text: str, rest: str) -> str:
    """HHMMSS, what is left out taken from `rest` (MMSS). Source: DICOM PS3.5 6.2, TM."""
    parts = _CLOCK.fullmatch(text)
    if parts is None or int(parts[1]) > 23:
        return _unreadable(key)
    return f"{parts[1]}{parts[2] or rest[:2]}{parts[3] or rest[2:]}"


def _zone(key: Key) -> timezone | None:
    """Source: DICOM PS3.3 C.12.1.1.8, Timezone Offset From UTC."""
    if not key.text.strip("*"):
        return None
    parts = _OFFSET.fullmatch(key.text)
    if parts is None or int(parts[2]) > 14:
        return _unreadable(key)
    span = timedelta(hours=int(parts[2]), minutes=int(parts[3]))
    return timezone(-span if parts[1] == "-" else span)


def _unreadable(key: Key) -> NoReturn:
    raise Malformed(f"{key.field}: cannot be read")
