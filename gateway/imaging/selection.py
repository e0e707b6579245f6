"""Which of the numbers in structured reports are told to others, and what tells one of them from another.

Source: DICOM PS3.16 TID 300, CID 224, CID 3627; HL7 dicom-sr, ImagingMeasurement.
"""

from collections.abc import Callable, Iterable
from typing import Final

from gateway.imaging.snomed import normal
from gateway.model.measurement import Circumstances, Code, Measurement, Report

SITE: Final = "363698007"  # SNOMED CT, as all that have no other note
SIDE: Final = "272741003"
PART: Final = "106233006"
METHOD: Final = "370129005"
DERIVATION: Final = "121401"  # DCM
SELECTION: Final = "121404"  # DCM

_CHOSEN = frozenset({"121410", "121411", "121412"})  # DCM, CID 224
_MEAN = "373098007"  # CID 3627


def chosen(
    measurements: Iterable[Measurement], is_usable: Callable[[Measurement], bool]
) -> tuple[Measurement, ...]:
    """The measurements to tell, in their order.

    Left out are those that are not usable, those of reports that another one replaces, and of several of one thing
    all but the one that was chosen, or else their mean.
    """
    found = tuple(measurements)
    replaced = set(replaced_reports(found))
    usable = [one for one in found if is_usable(one) and report_of(one).sop_uid not in replaced]
    groups: dict[object, list[Measurement]] = {}
    for one in usable:
        groups.setdefault(_thing(one), []).append(one)
    kept = {id(one) for group in groups.values() for one in _selected(group)}
    return tuple(one for one in usable if id(one) in kept)


def replaced_reports(measurements: Iterable[Measurement]) -> tuple[str, ...]:
    """The SOP Instance UIDs of the reports that others take the place of, each once."""
    return tuple(dict.fromkeys(uid for one in measurements for uid in report_of(one).replaces))


def report_of(one: Measurement) -> Report:
    """The report it stands in; one that nobody answers for when that is not known."""
    unread = Report(sop_uid="", is_complete=False, is_verified=False, is_preliminary=True)
    return one.circumstances.report or unread


def is_final(one: Measurement) -> bool:
    """Whether somebody answers for it: its report is complete, verified and not preliminary.

    Source: HL7 dicom-sr, status.
    """
    report = report_of(one)
    return report.is_verified and report.is_complete and not report.is_preliminary


def said_of(said: Circumstances, code: str) -> list[Code]:
    """The values of the modifiers of that name."""
    return [value for name, value in said.modifiers if normal(name).value == code]


def place_of(one: Measurement) -> tuple[tuple[str, str], ...]:
    """Where and how it was measured: modifiers of site, side, part and method, each with its value."""
    return tuple(
        (name, normal(value).value)
        for name in (SITE, SIDE, PART, METHOD)
        for value in said_of(one.circumstances, name)
    )


def _selected(group: list[Measurement]) -> list[Measurement]:
    """Of several measurements of one thing, those that stand for it."""
    picked = [one for one in group if any(v.value in _CHOSEN for v in said_of(one.circumstances, SELECTION))]
    means = [
        one for one in group if any(normal(v).value == _MEAN for v in said_of(one.circumstances, DERIVATION))
    ]
    return picked or means or group


def _thing(one: Measurement) -> object:
    """What is measured: the same for the numbers of which one may stand for all."""
    name = normal(one.name)
    subject = one.circumstances.subject
    report = report_of(one).sop_uid
    return (report, subject, name.value, name.scheme, name.meaning, one.context, place_of(one))
