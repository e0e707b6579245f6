"""A complete study told as ORU^R01: its UID, how many images it has, and what the machine measured.

Source: HL7 v2.5.1 7.3.1 (ORU), 7.4.1 (OBR), 7.4.2 (OBX); HL7 dicom-sr, status. Nothing is worked out here: a number
leaves as the structured report has it.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal

from gateway.hl7.destination import Destination
from gateway.hl7.order_news import study_uid
from gateway.hl7.origin import Origin
from gateway.hl7.outbound import header, instant, message, parts, patient, segment, text
from gateway.imaging.selection import chosen, is_final, place_of, report_of
from gateway.model.delivery import Change, Outgoing
from gateway.model.lifecycle import State
from gateway.model.measurement import Code, Measurement
from gateway.model.study import Study

KIND = "ORU^R01"
IMAGE_COUNT = Code(value="00201208", scheme="99DCMTAG", meaning="Number of Study Related Instances")
"""The DICOM attribute that counts them; there is no code of DCM or LOINC for it."""

_PRELIMINARY = "P"  # Source: HL7 tables 0085 and 0123
_RESULTS = "RE"  # Source: HL7 table 0119: observations to be performed, or performed
_IN_PROCESS = "IP"
_STATUSES = {
    State.SCHEDULED: "SC",
    State.SENT: "SC",
    State.COMPLETED: "CM",
    State.DISCONTINUED: "DC",
    State.CANCELLED: "CA",
}
"""ORC-5; in any other state the order is in process. Source: HL7 table 0038."""

_MOST_DIGITS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """An order that the study is for: as its sender wrote it, and where it stands."""

    origin: Origin
    state: State


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A measurement and its sub-id, with which it is the only one of its code in the message."""

    measurement: Measurement
    sub_id: str


def study_results(
    change: Change,
    study: Study,
    destination: Destination,
    asked: Iterable[Asked],
    *,
    control_id: str,
) -> Outgoing:
    """The news of the study for the destination; `asked` are its orders, the one it is linked to first."""
    return Outgoing(
        destination=destination.name,
        kind=KIND,
        key=f"order:{change.order.id}",
        order_id=change.order.id,
        payload=message(_segments(change, study, destination, tuple(asked), control_id)),
        in_turn=True,
    )


def results(measurements: Iterable[Measurement]) -> tuple[Result, ...]:
    """The measurements to tell, as FHIR servers are told them, each with a sub-id "group.number".

    The group counts the sections of reports as they come (a fetus, a kidney, a side); the number counts within it
    what was measured more than once. Source: HL7 v2.5.1 7.4.2.4.
    """
    groups: dict[object, int] = {}
    counts: dict[tuple[int, Code], int] = {}
    found = []
    for one in chosen(measurements, _is_usable):
        about = report_of(one).sop_uid, one.circumstances.subject, place_of(one)
        section = one.path.rpartition(".")[0], one.context, about
        group = groups.setdefault(section, len(groups) + 1)
        counts[group, one.name] = number = counts.get((group, one.name), 0) + 1
        found.append(Result(measurement=one, sub_id=f"{group}.{number}"))
    return tuple(found)


def _is_usable(one: Measurement) -> bool:
    return bool(one.value and (one.name.value or one.name.meaning))


def _segments(
    change: Change, study: Study, destination: Destination, asked: tuple[Asked, ...], control_id: str
) -> Iterator[str]:
    version, found = destination.version, results(study.measurements)
    yield header(destination, KIND, "ORU_R01", control_id=control_id, at=change.at)
    yield patient(change.order.patient, asked[0].origin.patient_id, version)
    for number, one in enumerate(asked, start=1):
        status = {
            1: _RESULTS,
            5: _STATUSES.get(one.state, _IN_PROCESS),
            9: instant(change.at, destination),
        }
        yield segment("ORC", version, one.origin.orc | status)
        yield segment(
            "OBR", version, {1: str(number)} | one.origin.obr | _report(change, study, destination, found)
        )
        yield study_uid(study.study_uid, version)
        yield _image_count(study, destination)
        if number == 1:  # which of several orders a number belongs to, no report says
            yield from _measured(found, destination)


def _report(
    change: Change, study: Study, destination: Destination, found: tuple[Result, ...]
) -> dict[int, str]:
    """When the images were made (OBR-7), when this was said (OBR-22), and how sure all of it is (OBR-25)."""
    is_sure = all(is_final(one.measurement) for one in found)
    return {
        7: instant(study.started or study.first_at, destination),
        22: instant(change.at, destination),
        25: destination.result_status if is_sure else _PRELIMINARY,
    }


def _image_count(study: Study, destination: Destination) -> str:
    fields = {1: "2", 2: "NM", 3: _coded(IMAGE_COUNT), 4: "1", 5: str(study.instance_count), 11: "F"}
    return segment("OBX", destination.version, fields)


def _measured(found: tuple[Result, ...], destination: Destination) -> Iterator[str]:
    for number, result in enumerate(found, start=3):
        one = result.measurement
        value, kind = _number(one.value)
        status = destination.result_status if is_final(one) else _PRELIMINARY
        fields = {1: str(number), 2: kind, 3: _coded(one.name), 4: result.sub_id, 5: text(value)}
        fields |= {6: _coded(one.unit) if one.unit else "", 11: status}
        yield segment("OBX", destination.version, fields)
        if note := _note(one):
            yield segment("NTE", destination.version, {1: "1", 3: text(note)})


def _note(one: Measurement) -> str:
    """What tells the number from others of its name: where in its report it stands, of which fetus it is, and more.

    "OB-GYN Ultrasound Procedure Report > Fetal Biometry; Fetus ID: A; Derivation: Mean".
    """
    said = one.circumstances
    fetus = [f"Fetus ID: {said.subject}"] if said.subject else []
    further = [f"{_word(name)}: {_word(value)}" for name, value in said.modifiers]
    return "; ".join(filter(None, (" > ".join(one.context), *fetus, *further)))


def _word(code: Code) -> str:
    return code.meaning or code.value


def _coded(code: Code) -> str:
    return parts(code.value, code.meaning, code.scheme)


def _number(decimal: str) -> tuple[str, str]:
    """The decimal and its value type. NM has no exponent: it is written out, digit for digit, where that is short."""
    if "e" not in decimal.lower():
        return decimal, "NM"
    number = Decimal(decimal)
    exponent = number.as_tuple().exponent
    if not isinstance(exponent, int) or abs(exponent) > _MOST_DIGITS:
        return decimal, "ST"
    return format(number, "f"), "NM"
