"""The numbers in a structured report: every NUM content item, in the order of the tree."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pydicom import Dataset, dcmread
from pydicom.dataelem import RawDataElement

from gateway.imaging.content import handed_down, items, modifiers_of, read_code, read_report, subject_of
from gateway.imaging.part10 import open_object, read_header
from gateway.model.errors import Malformed, Refused
from gateway.model.measurement import Circumstances, Code, Measurement, Report

MAX_REPORT_BYTES = 64 * 1024 * 1024
MAX_DEPTH = 32  # below the root
MAX_ITEMS = 50_000
MAX_MEASUREMENTS = 10_000

_UNDEFINED_LENGTH = 0xFFFFFFFF
_SR_CLASSES = "1.2.840.10008.5.1.4.1.1.88."  # Source: DICOM PS3.4 B.5
_DECIMAL = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")  # Source: DICOM PS3.5 6.2, VR DS


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """A content item and where it stands."""

    item: Dataset
    path: tuple[int, ...]
    context: tuple[str, ...]
    subject: str = ""
    modifiers: tuple[tuple[Code, Code], ...] = ()


def read_measurements(path: Path) -> tuple[Measurement, ...]:
    """The measurements of the report at `path`; none when the object is no structured report.

    What a report leaves out stays empty: a name, a value, a unit. References to other items are not followed.
    Raises Refused when the report is larger, deeper or has more items than the limits above; Malformed when it
    cannot be read; Unavailable when the file cannot be opened. Source: DICOM PS3.3 C.17.3, C.18.1.
    """
    with open_object(path) as file:
        if not _is_report(file):
            return ()
        if file.seek(0, 2) > MAX_REPORT_BYTES:
            raise Refused("structured report: larger than the limit")
        file.seek(0)
        report = dcmread(file, force=True, stop_before_pixels=True)
        _refuse_when_cut(report.get_item("ContentSequence"))
        found: list[Measurement] = []
        document = read_report(report)
        for place in _content_items(report):
            if str(place.item.get("ValueType") or "") == "NUM":
                found.append(_read_measurement(place, document))
            if len(found) > MAX_MEASUREMENTS:
                raise Refused("Content Sequence (0040,A730): more measurements than the limit")
        return tuple(found)


def _is_report(file: BinaryIO) -> bool:
    """Private report classes are known by their modality."""
    header = read_header(file, ("SOPClassUID", "Modality"))
    sop_class = str(header.get("SOPClassUID") or header.file_meta.get("MediaStorageSOPClassUID") or "")
    return sop_class.startswith(_SR_CLASSES) or header.get("Modality") == "SR"


def _content_items(report: Dataset) -> Iterator[_Place]:
    """Every item below the root and the root itself, in the order a reader meets them.

    Raises Refused beyond MAX_DEPTH and MAX_ITEMS.
    """
    waiting = [_Place(item=report, path=(1,), context=())]
    count = 0
    while waiting:
        place = waiting.pop()
        yield place
        children = items(place.item, "ContentSequence")
        count += len(children)
        if len(place.path) > MAX_DEPTH + 1 or count > MAX_ITEMS:
            raise Refused("Content Sequence (0040,A730): deeper or longer than the limit")
        context = place.context + _container_meaning(place.item)
        subject = subject_of(place.item) or place.subject
        modifiers = place.modifiers
        if str(place.item.get("ValueType") or "") == "CONTAINER":
            modifiers = _nearest(handed_down(modifiers_of(place.item)), modifiers)
        waiting.extend(
            _Place(
                item=child, path=(*place.path, number), context=context, subject=subject, modifiers=modifiers
            )
            for number, child in reversed(list(enumerate(children, start=1)))
        )


def _container_meaning(item: Dataset) -> tuple[str, ...]:
    """The meaning of a container's name, nothing for other items and nameless containers."""
    if str(item.get("ValueType") or "") != "CONTAINER":
        return ()
    name = read_code(item, "ConceptNameCodeSequence")
    return (name.meaning,) if name is not None and name.meaning else ()


def _read_measurement(place: _Place, report: Report) -> Measurement:
    measured = next(iter(items(place.item, "MeasuredValueSequence")), None)
    name = read_code(place.item, "ConceptNameCodeSequence")
    return Measurement(
        name=name or Code(value="", scheme="", meaning=""),
        value=_read_decimal(measured) if measured is not None else "",
        unit=read_code(measured, "MeasurementUnitsCodeSequence") if measured is not None else None,
        context=place.context,
        path=".".join(map(str, place.path)),
        circumstances=Circumstances(
            subject=place.subject,
            modifiers=_nearest(modifiers_of(place.item), place.modifiers),
            qualifier=read_code(place.item, "NumericValueQualifierCodeSequence"),
            observation_uid=str(place.item.get("ObservationUID") or ""),
            report=report,
        ),
    )


def _nearest(
    own: tuple[tuple[Code, Code], ...], inherited: tuple[tuple[Code, Code], ...]
) -> tuple[tuple[Code, Code], ...]:
    """What is said here, and what is said further out of things that nothing is said of here."""
    named = {(said.value, said.scheme) for said, _ in own}
    return (*own, *(one for one in inherited if (one[0].value, one[0].scheme) not in named))


def _read_decimal(measured: Dataset) -> str:
    """Numeric Value as its bytes stand, without padding; empty when it is no decimal.

    Raises Malformed when the report ends within it: half of a number is another number.
    """
    element = measured.get_item("NumericValue")  # not yet turned into a number
    _refuse_when_cut(element)
    stored: object = element.value if element is not None else b""
    text = stored.decode("ascii", errors="replace") if isinstance(stored, bytes) else str(stored)
    text = text.strip(" \0")
    return text if _DECIMAL.fullmatch(text) else ""


def _refuse_when_cut(element: object) -> None:
    """Raises Malformed when the file ended before the element's value did."""
    if not isinstance(element, RawDataElement) or element.value is None:
        return
    if element.length not in {len(element.value), _UNDEFINED_LENGTH}:
        raise Malformed("structured report: the file ends within it")
