"""What an object says of itself: read from its elements into our own words."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from gateway.dicom import charset
from gateway.dicom.elements import Element, read_elements, syntax_of
from gateway.dicom.incoming import IncomingObject
from gateway.model.errors import Malformed
from gateway.model.ids import MAX_UID, Uid
from gateway.model.measurement import Code
from gateway.model.study import Received, SeriesFacts, StudyFacts

_Found: TypeAlias = Mapping[int, Element]
"""The elements of a data set or an item, by tag."""

_TAGS = {
    "charset": 0x00080005,
    "sop_class": 0x00080016,
    "sop_uid": 0x00080018,
    "study_date": 0x00080020,
    "study_time": 0x00080030,
    "accession": 0x00080050,
    "modality": 0x00080060,
    "zone_offset": 0x00080201,
    "study_description": 0x00081030,
    "series_description": 0x0008103E,
    "patient_name": 0x00100010,
    "patient_id": 0x00100020,
    "issuer": 0x00100021,
    "birth_date": 0x00100030,
    "sex": 0x00100040,
    "study_uid": 0x0020000D,
    "series_uid": 0x0020000E,
    "study_id": 0x00200010,
    "series_number": 0x00200011,
    "instance_number": 0x00200013,
    "frames": 0x00280008,
    "image_type": 0x00080008,
    "series_date": 0x00080021,
    "series_time": 0x00080031,
    "referring": 0x00080090,
    "station": 0x00081010,
    "performing": 0x00081050,
    "operators": 0x00081070,
    "body_part": 0x00180015,
    "laterality": 0x00200060,
    "image_laterality": 0x00200062,
    "document_title": 0x00420010,
}
_WANTED = frozenset(_TAGS.values())
_SEQUENCES = {
    "accession_issuer": 0x00080051,
    "procedure": 0x00081032,
    "region": 0x00082218,
    "concept_name": 0x0040A043,
    "request": 0x00400275,
}
_WANTED_SEQUENCES = frozenset(_SEQUENCES.values())
_REQUESTED_PROCEDURE = 0x00321064
_CODE_VALUES = (0x00080100, 0x00080119, 0x00080120)  # short, long, URN. Source: DICOM PS3.3 8.8
_CODE_SCHEME, _CODE_MEANING = 0x00080102, 0x00080104
_ISSUER_UNIVERSAL, _ISSUER_LOCAL = 0x00400032, 0x00400031  # Source: DICOM PS3.3 10.14
_MOST_TEXT = 256


class Unfit(Malformed):
    """The object can be read, and is not what its SOP class or its message says."""


def read_object(incoming: IncomingObject, transfer_syntax: str, calling_ae: str) -> Received:
    """The header of a received object, whose structure was followed to its end.

    Raises Malformed when it is truncated or no DICOM, Unfit when a UID is absent or illegal, OSError.
    """
    found = _elements(incoming.path, incoming.offset, incoming.size, transfer_syntax)
    terms = charset.read_terms(_value(found, _TAGS["charset"]))
    texts = {name: _text(_value(found, tag), terms) for name, tag in _TAGS.items()}
    items = {name: _items(found, tag) for name, tag in _SEQUENCES.items()}
    return Received(
        sop_uid=_uid(texts["sop_uid"], "SOPInstanceUID (0008,0018)"),
        sop_class=_uid(texts["sop_class"], "SOPClassUID (0008,0016)"),
        series_uid=_uid(texts["series_uid"], "SeriesInstanceUID (0020,000E)"),
        study_uid=_uid(texts["study_uid"], "StudyInstanceUID (0020,000D)"),
        transfer_syntax=Uid(transfer_syntax),
        modality=texts["modality"],
        patient_id=texts["patient_id"],
        issuer=texts["issuer"],
        patient_name=texts["patient_name"],
        birth_date=texts["birth_date"],
        sex=texts["sex"],
        accession=texts["accession"],
        study_id=texts["study_id"],
        study_date=texts["study_date"],
        study_time=texts["study_time"],
        zone_offset=texts["zone_offset"],
        study_description=texts["study_description"],
        series_number=texts["series_number"],
        series_description=texts["series_description"],
        instance_number=texts["instance_number"],
        frames=_frames(texts["frames"]),
        calling_ae=calling_ae,
        title=_title(texts, items["concept_name"], terms),
        facts=StudyFacts(
            zone_offset=texts["zone_offset"],
            accession_issuer=_issuer(items["accession_issuer"], terms),
            referring=texts["referring"],
            procedure=_procedure(items, terms),
        ),
        series_facts=SeriesFacts(
            date=texts["series_date"],
            time=texts["series_time"],
            zone_offset=texts["zone_offset"],
            body_part=texts["body_part"],
            region=next(iter(_codes(items["region"], terms)), None),
            laterality=texts["laterality"] or texts["image_laterality"],
            performing=texts["performing"],
            operators=texts["operators"],
            station=texts["station"],
        ),
    )


def _elements(path: Path, offset: int, size: int, transfer_syntax: str) -> _Found:
    with path.open("rb") as stream:
        stream.seek(offset)
        syntax = syntax_of(transfer_syntax)
        return _by_tag(read_elements(stream, size, syntax, _WANTED, _WANTED_SEQUENCES))


def _by_tag(elements: Iterable[Element]) -> _Found:
    return {element.tag: element for element in elements}


def _value(found: _Found, tag: int) -> bytes:
    element = found.get(tag)
    return element.value if element is not None else b""


def _items(found: _Found, tag: int) -> tuple[_Found, ...]:
    element = found.get(tag)
    return tuple(_by_tag(item) for item in element.items) if element is not None else ()


def _codes(items: Iterable[_Found], terms: Sequence[str]) -> tuple[Code, ...]:
    """The codes of a code sequence that have a value or a meaning. Source: DICOM PS3.3 8.8."""
    found = (
        Code(
            value=next(filter(None, (_short(item, tag, terms) for tag in _CODE_VALUES)), ""),
            scheme=_short(item, _CODE_SCHEME, terms),
            meaning=_short(item, _CODE_MEANING, terms),
        )
        for item in items
    )
    return tuple(code for code in found if code.value or code.meaning)


def _short(item: _Found, tag: int, terms: Sequence[str]) -> str:
    return _text(_value(item, tag), terms)[:_MOST_TEXT]


def _procedure(items: Mapping[str, tuple[_Found, ...]], terms: Sequence[str]) -> tuple[Code, ...]:
    """What was done, else what was asked for."""
    requested = (item for request in items["request"] for item in _items(request, _REQUESTED_PROCEDURE))
    return _codes(items["procedure"], terms) or tuple(dict.fromkeys(_codes(requested, terms)))


def _issuer(items: tuple[_Found, ...], terms: Sequence[str]) -> str:
    names = (_short(item, tag, terms) for item in items for tag in (_ISSUER_UNIVERSAL, _ISSUER_LOCAL))
    return next(filter(None, names), "")


def _title(texts: Mapping[str, str], names: tuple[_Found, ...], terms: Sequence[str]) -> str:
    """A document's own title, else what kind of report it is, else the kinds of image it says it is."""
    report = next((code.meaning for code in _codes(names, terms)), "")
    return (texts["document_title"] or report or texts["image_type"].replace("\\", " "))[:_MOST_TEXT]


def _text(value: bytes, terms: Sequence[str]) -> str:
    return charset.decode(value, terms).replace("\0", "").strip()


def _uid(text: str, field: str) -> Uid:
    """Leading zeros in a component are illegal and common: images are not lost over them."""
    if not text:
        raise Unfit(f"{field}: absent")
    if len(text) > MAX_UID or not text.isascii() or not text.replace(".", "").isdigit():
        raise Unfit(f"{field}: not a UID")
    return Uid(text)


def _frames(text: str) -> int:
    """An object that does not say has one. Source: DICOM PS3.3 C.7.6.6."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 9 else 1
