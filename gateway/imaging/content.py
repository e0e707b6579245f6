"""The parts of a structured report's content item: its code sequences, its children, what qualifies it.

Source: DICOM PS3.3 C.17.3 (SR Document Content), 8.8 (code sequences); PS3.16 TID 300, 320, 1008.
"""

from collections.abc import Iterator

from pydicom import Dataset
from pydicom.sequence import Sequence

from gateway.model.measurement import Code, Report

MAX_TEXT = 256
"""Characters kept of a code's value, scheme and meaning. DICOM allows 16 and 64, or a long value."""

_SUBJECTS = frozenset({("11951-1", "LN"), ("121030", "DCM")})  # Fetus ID, Subject ID. Source: PS3.16 TID 1008
_INHERITED = frozenset(
    {
        ("363698007", "SCT"), ("G-C0E3", "SRT"),  # Finding Site
        ("272741003", "SCT"), ("G-C171", "SRT"),  # Laterality
        ("106233006", "SCT"), ("G-A1F8", "SRT"),  # Topographical modifier
    }
)  # fmt: skip
_QUALIFIES = frozenset({"HAS CONCEPT MOD", "HAS PROPERTIES"})
_MAX_MODIFIERS = 20  # of one item
_MAX_REPLACED = 50


def items(item: Dataset, keyword: str) -> Sequence | tuple[()]:
    """The items of a sequence, none when it is absent or no sequence."""
    value = item.get(keyword)
    return value if isinstance(value, Sequence) else ()


def read_code(item: Dataset, keyword: str) -> Code | None:
    """The first code of a sequence; None when there is none. Source: DICOM PS3.3 8.8."""
    code = next(iter(items(item, keyword)), None)
    if code is None:
        return None
    values = (_text(code, value) for value in ("CodeValue", "LongCodeValue", "URNCodeValue"))
    return Code(
        value=next(filter(None, values), ""),
        scheme=_text(code, "CodingSchemeDesignator"),
        meaning=_text(code, "CodeMeaning"),
    )


def subject_of(item: Dataset) -> str:
    """Which fetus the item's content is about, as the report names it; "" when the item does not say."""
    for child in items(item, "ContentSequence"):
        if str(child.get("RelationshipType") or "") == "HAS OBS CONTEXT":
            name = read_code(child, "ConceptNameCodeSequence")
            if name is not None and (name.value, name.scheme) in _SUBJECTS:
                return _text(child, "TextValue")
    return ""


def modifiers_of(item: Dataset) -> tuple[tuple[Code, Code], ...]:
    """What the item is qualified by, and what those codes are qualified by in turn: a site by its side."""
    found = list(_modifiers(item, depth=0))
    return tuple(found[:_MAX_MODIFIERS])


def handed_down(modifiers: tuple[tuple[Code, Code], ...]) -> tuple[tuple[Code, Code], ...]:
    """Those of a container's modifiers that hold for everything in it."""
    return tuple(one for one in modifiers if (one[0].value, one[0].scheme) in _INHERITED)


def read_report(report: Dataset) -> Report:
    """The document itself. A flag that is absent promises nothing. Source: DICOM PS3.3 C.17.2."""
    replaced = (
        _text(sop, "ReferencedSOPInstanceUID")
        for study in items(report, "PredecessorDocumentsSequence")
        for series in items(study, "ReferencedSeriesSequence")
        for sop in items(series, "ReferencedSOPSequence")
    )
    return Report(
        sop_uid=_text(report, "SOPInstanceUID"),
        is_complete=_text(report, "CompletionFlag") == "COMPLETE",
        is_verified=_text(report, "VerificationFlag") == "VERIFIED",
        is_preliminary=_text(report, "PreliminaryFlag") == "PRELIMINARY",
        replaces=tuple(uid for uid in replaced if uid)[:_MAX_REPLACED],
        date=_text(report, "ContentDate"),
        time=_text(report, "ContentTime"),
        zone_offset=_text(report, "TimezoneOffsetFromUTC"),
    )


def _modifiers(item: Dataset, depth: int) -> Iterator[tuple[Code, Code]]:
    for child in items(item, "ContentSequence"):
        is_code = str(child.get("ValueType") or "") == "CODE"
        if is_code and str(child.get("RelationshipType") or "") in _QUALIFIES:
            name = read_code(child, "ConceptNameCodeSequence")
            value = read_code(child, "ConceptCodeSequence")
            if name is not None and value is not None:
                yield name, value
            if depth < 2:
                yield from _modifiers(child, depth + 1)


def _text(item: Dataset, keyword: str) -> str:
    value = item.get(keyword)
    return str(value).strip()[:MAX_TEXT] if isinstance(value, str) else ""
