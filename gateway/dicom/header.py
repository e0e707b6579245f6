"""What an object says of itself: read from its elements into our own words."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from gateway.dicom import charset
from gateway.dicom.elements import Element, read_elements, syntax_of
from gateway.dicom.incoming import IncomingObject
from gateway.model.errors import Malformed
from gateway.model.ids import MAX_UID, Uid
from gateway.model.study import Received

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
}
_WANTED = frozenset(_TAGS.values())


class Unfit(Malformed):
    """The object can be read, and is not what its SOP class or its message says."""


def read_object(incoming: IncomingObject, transfer_syntax: str, calling_ae: str) -> Received:
    """The header of a received object, whose structure was followed to its end.

    Raises Malformed when it is truncated or no DICOM, Unfit when a UID is absent or illegal, OSError.
    """
    found = _elements(incoming.path, incoming.offset, incoming.size, transfer_syntax)
    terms = charset.read_terms(found.get(_TAGS["charset"], b""))
    texts = {name: _text(found.get(tag, b""), terms) for name, tag in _TAGS.items()}
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
    )


def _elements(path: Path, offset: int, size: int, transfer_syntax: str) -> Mapping[int, bytes]:
    with path.open("rb") as stream:
        stream.seek(offset)
        found: tuple[Element, ...] = read_elements(stream, size, syntax_of(transfer_syntax), _WANTED)
    return {element.tag: element.value for element in found}


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
