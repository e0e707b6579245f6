"""What is found, as DICOM JSON. Nothing is invented: what is not known has no value.

Source: DICOM PS3.18 F.2, 10.6.3.3.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from pydicom.datadict import dictionary_VR, tag_for_keyword

from gateway.model.study_search import FoundInstance, FoundSeries, FoundStudy
from gateway.model.zones import read_offset

Json = dict[str, Any]

_GROUPS = ("Alphabetic", "Ideographic", "Phonetic")  # Source: DICOM PS3.18 F.2.2


def study_json(study: FoundStudy, root: str, zone: ZoneInfo) -> Json:
    """A study; `root` is our DICOMweb's own address. Source: DICOM PS3.18 table 10.6.3-3."""
    own = {
        "StudyDate": study.study_date,
        "StudyTime": _time(study, zone),
        "AccessionNumber": study.accession,
        "InstanceAvailability": "ONLINE",
        "ModalitiesInStudy": study.modalities,
        "ReferringPhysicianName": study.referring,
        "RetrieveURL": f"{root}/studies/{study.study_uid}",
        "PatientName": study.patient.name,
        "PatientID": study.patient.patient_id,
        "PatientBirthDate": study.patient.birth_date,
        "PatientSex": study.patient.sex,
        "StudyInstanceUID": study.study_uid,
        "StudyID": study.study_id,
        "NumberOfStudyRelatedSeries": study.series_count,
        "NumberOfStudyRelatedInstances": study.instance_count,
    }
    known = {
        "TimezoneOffsetFromUTC": study.zone_offset,
        "StudyDescription": study.description,
        "IssuerOfPatientID": study.patient.issuer,
    }
    return _json(own, known)


def series_json(series: FoundSeries, root: str, zone: ZoneInfo, *, with_study: bool) -> Json:
    """A series; with what it has from its study where the search did not name that. Source: table 10.6.3-4."""
    facts = series.facts
    own = {
        "Modality": series.modality,
        "RetrieveURL": f"{root}/studies/{series.study.study_uid}/series/{series.series_uid}",
        "StudyInstanceUID": series.study.study_uid,
        "SeriesInstanceUID": series.series_uid,
        "SeriesNumber": series.number,
        "NumberOfSeriesRelatedInstances": series.instance_count,
    }
    known = {
        "TimezoneOffsetFromUTC": facts.zone_offset,
        "SeriesDescription": series.description,
        "SeriesDate": facts.date,
        "SeriesTime": facts.time,
        "BodyPartExamined": facts.body_part,
        "Laterality": facts.laterality,
        "StationName": facts.station,
    }
    above = study_json(series.study, root, zone) if with_study else {}
    return _sorted(above | _json(own, known))


def instance_json(
    instance: FoundInstance, root: str, zone: ZoneInfo, *, with_study: bool, with_series: bool
) -> Json:
    """An instance; with what it has from above where the search did not name that. Source: table 10.6.3-5."""
    series = instance.series
    place = f"{root}/studies/{series.study.study_uid}/series/{series.series_uid}"
    own = {
        "SOPClassUID": instance.sop_class,
        "SOPInstanceUID": instance.sop_uid,
        "InstanceAvailability": "ONLINE",
        "RetrieveURL": f"{place}/instances/{instance.sop_uid}",
        "StudyInstanceUID": series.study.study_uid,
        "SeriesInstanceUID": series.series_uid,
        "InstanceNumber": instance.number,
        "AvailableTransferSyntaxUID": instance.transfer_syntax,
    }
    known = {
        "TimezoneOffsetFromUTC": series.facts.zone_offset,
        "NumberOfFrames": instance.frames if instance.frames > 1 else "",
    }
    above = series_json(series, root, zone, with_study=with_study) if with_series else {}
    return _sorted(above | _json(own, known))


def _json(own: dict[str, Any], known: dict[str, Any]) -> Json:
    """Attributes that are always there, and those that are there when they are known; by tag, in order."""
    values = own | {keyword: value for keyword, value in known.items() if value}
    found = {"00080005": {"vr": "CS", "Value": ["ISO_IR 192"]}}
    for keyword, value in values.items():
        tag = tag_for_keyword(keyword)
        assert tag is not None
        found[f"{tag:08X}"] = _element(dictionary_VR(tag), value)
    return _sorted(found)


def _sorted(attributes: Json) -> Json:
    """Source: DICOM PS3.18 F.2.2: attributes are in the order of their tags."""
    return {tag: attributes[tag] for tag in sorted(attributes)}


def _element(vr: str, value: Any) -> Json:
    several = value if isinstance(value, tuple) else (value,) if value != "" else ()
    values = list(filter(lambda one: one is not None, (_value(vr, one) for one in several)))
    return {"vr": vr, "Value": values} if values else {"vr": vr}


def _value(vr: str, value: Any) -> Any:
    """None for what is no value of its kind."""
    if vr == "PN":
        return dict(_groups(value)) or None
    if vr == "IS" and isinstance(value, str):
        digits = value.strip().removeprefix("+")
        is_number = digits.removeprefix("-").isdigit() and digits.isascii() and len(digits) <= 12
        return int(digits) if is_number else None
    return value


def _groups(name: str) -> Iterator[tuple[str, str]]:
    for group, text in zip(_GROUPS, name.split("="), strict=False):
        if text:
            yield group, text


def _time(study: FoundStudy, zone: ZoneInfo) -> str:
    """When the study began, as its header said; "" when that is not known any more, such as after a change of zone."""
    if study.started is None:
        return ""
    local: datetime = study.started.astimezone(read_offset(study.zone_offset) or zone)
    return f"{local:%H%M%S}" if f"{local:%Y%m%d}" == study.study_date else ""
