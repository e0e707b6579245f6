"""Modality Performed Procedure Step: a machine tells what it begins and how it ends. Source: DICOM PS3.4 annex F.

Rules where machines do as they like:

- An attribute that must have a value when a step is created (PS3.4 table F.7.2-1, type 1) is asked for. What a
  finished step must have is not: an order would stay open for ever, at a machine that nobody can change.
- An N-SET that names what only the N-CREATE may name is taken; those attributes change nothing.
- A time that cannot be read is no reason to refuse: that of receipt stands in for it.
- Performed Series Sequence replaces what was told of series before. Private elements are kept with the message.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from io import BytesIO
from typing import Final

from pydicom.dataset import Dataset
from pynetdicom.dimse_primitives import N_CREATE, N_SET
from pynetdicom.events import Event

from gateway.dicom import charset, status
from gateway.dicom.elements import ALL, Element, read_elements, syntax_of
from gateway.dicom.header import Unfit
from gateway.dicom.incoming import IncomingData, calling_ae
from gateway.flow import perform
from gateway.flow.ports import Ports
from gateway.model.errors import Conflict, GatewayError, Malformed, NotFound, Unavailable
from gateway.model.ids import MAX_UID, Uid
from gateway.model.performed import Begun, Letter, MadeObject, PerformedState, Scheduled, Told
from gateway.model.zones import read_offset

log = logging.getLogger(__name__)

PERFORMED_STEP: Final = "1.2.840.10008.3.1.2.3.3"

Response = tuple[int | Dataset, Dataset | None]

_CHARSET, _ZONE = 0x00080005, 0x00080201
_STATUS, _STEPS, _SERIES = 0x00400252, 0x00400270, 0x00400340
_IMAGES, _OTHERS = (
    0x00081140,
    0x00400220,
)  # Referenced Image, Referenced Non-Image Composite SOP Instance Sequence
_CLASS, _INSTANCE = 0x00081150, 0x00081155
_STUDY_UID, _SERIES_UID = 0x0020000D, 0x0020000E
_START, _END = (0x00400244, 0x00400245), (0x00400250, 0x00400251)  # date, time
_REASON, _MEANING = 0x00400281, 0x00080104
_REQUIRED = {
    _STEPS: "ScheduledStepAttributesSequence (0040,0270)",
    0x00400253: "PerformedProcedureStepID (0040,0253)",
    0x00400241: "PerformedStationAETitle (0040,0241)",
    _START[0]: "PerformedProcedureStepStartDate (0040,0244)",
    _START[1]: "PerformedProcedureStepStartTime (0040,0245)",
    _STATUS: "PerformedProcedureStepStatus (0040,0252)",
    0x00080060: "Modality (0008,0060)",
}  # Source: DICOM PS3.4 table F.7.2-1, type 1 of the N-CREATE
_TEXTS = {
    "station": 0x00400241,
    "modality": 0x00080060,
    "step_id": 0x00400253,
    "description": 0x00400254,
    "patient_id": 0x00100020,
    "issuer": 0x00100021,
    "patient_name": 0x00100010,
    "birth_date": 0x00100030,
    "sex": 0x00100040,
}
_DOSE = {
    "ImageAndFluoroscopyAreaDoseProduct": 0x0018115E,
    "TotalTimeOfFluoroscopy": 0x00400300,
    "TotalNumberOfExposures": 0x00400301,
    "EntranceDose": 0x00400302,
    "EntranceDoseInmGy": 0x00408302,
    "CommentsOnRadiationDose": 0x00400310,
}  # Source: DICOM PS3.3 C.4.16, Radiation Dose
_CODES = {
    perform.KnownStep: status.STEP_DUPLICATE,
    perform.FinishedStep: status.STEP_FAILED,
    Conflict: status.STEP_OUT_OF_RESOURCES,  # somebody changes the same order all the time
    NotFound: status.STEP_UNKNOWN,
    Malformed: status.STEP_FAILED,
}
_MAX_OBJECTS = 50_000


class _Refusal(Unfit):
    """What is wrong with the attributes, and the status that says so."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


def create(event: Event, ports: Ports) -> Response:
    """The answer to an N-CREATE: the step is durable and its orders have started before Success leaves."""
    request = event.request
    assert isinstance(request, N_CREATE)
    given = str(request.AffectedSOPInstanceUID or "")
    sop_uid = Uid(given) if given else ports.new_uid()  # Source: DICOM PS3.7 10.1.5.1.4

    def act() -> None:
        _check_uid(sop_uid, status.STEP_UID_UNFIT)
        letter = _letter(event, "N-CREATE", request.AttributeList)
        said = Said(letter)
        perform.begin(ports, read_begun(said, sop_uid, calling_ae(event)), read_told(said, ports), letter)

    code = _answer(event, "performed.begun", act)
    answer = Dataset()
    answer.AffectedSOPInstanceUID = sop_uid
    return code, (answer if code == status.SUCCESS and not given else None)


def change(event: Event, ports: Ports) -> Response:
    """The answer to an N-SET: what the machine now says is durable before Success leaves."""
    request = event.request
    assert isinstance(request, N_SET)
    sop_uid = Uid(str(request.RequestedSOPInstanceUID or ""))

    def act() -> None:
        letter = _letter(event, "N-SET", request.ModificationList)
        said = Said(letter)
        perform.change(ports, sop_uid, read_told(said, ports), letter, calling_ae=calling_ae(event))

    return _answer(event, "performed.changed", act), None


def _answer(event: Event, done: str, act: Callable[[], None]) -> int | Dataset:
    """Every error as its status. Source: DICOM PS3.4 F.7.2, PS3.7 10.1.3.1.10 and 10.1.5.1.6."""
    peer = calling_ae(event)
    try:
        act()
    except (Malformed, Conflict, NotFound) as error:
        return _refused(peer, error)
    except Unavailable as error:
        log.error("performed.not_kept", extra={"peer": peer, "error": type(error.__cause__).__name__})
        return status.with_comment(status.STEP_OUT_OF_RESOURCES, "cannot be kept now, try again")
    except Exception:
        log.exception("performed.failed", extra={"peer": peer})
        return status.with_comment(status.STEP_FAILED, "a fault of the receiver's own")
    log.info(done, extra={"peer": peer})
    return status.SUCCESS


def _refused(peer: str, error: GatewayError) -> Dataset:
    kinds = ((kind, code) for kind, code in _CODES.items() if isinstance(error, kind))
    code = error.code if isinstance(error, _Refusal) else next(kinds)[1]
    log.warning("performed.refused", extra={"peer": peer, "status": f"0x{code:04X}", "reason": str(error)})
    answer = status.with_comment(code, str(error))
    if isinstance(error, perform.FinishedStep):
        answer.ErrorID = status.STEP_FINISHED_ERROR
    return answer


def _letter(event: Event, verb: str, content: BytesIO | None) -> Letter:
    if isinstance(content, IncomingData) and content.is_too_long:
        raise Malformed("data set: too long")
    syntax = str(event.context.transfer_syntax)
    return Letter(verb=verb, transfer_syntax=syntax, content=content.getvalue() if content else b"")


class Said:
    """The elements of a message, read by tag; `has` tells absent from empty."""

    def __init__(self, letter: Letter) -> None:
        """Raises Malformed when it cannot be read."""
        syntax = syntax_of(letter.transfer_syntax)
        self._is_big_endian = syntax.is_big_endian
        stream = BytesIO(letter.content)
        self._top = _by_tag(read_elements(stream, len(letter.content), syntax, ALL))
        first = self._top.get(_CHARSET)
        self._terms = charset.read_terms(first.value) if first else ()

    def has(self, tag: int) -> bool:
        """Whether the element is there."""
        return tag in self._top

    def items(self, tag: int) -> Sequence[Mapping[int, Element]]:
        """The items of a sequence at the top."""
        return _items(self._top, tag)

    def text(self, tag: int, of: Mapping[int, Element] | None = None) -> str:
        """The text of an element, of an item when one is given; "" when absent."""
        element = (self._top if of is None else of).get(tag)
        if element is None:
            return ""
        if element.vr == "US":
            return str(int.from_bytes(element.value, "big" if self._is_big_endian else "little"))
        return charset.decode(element.value, self._terms).replace("\0", "").strip()


def read_begun(said: Said, sop_uid: Uid, peer: str) -> Begun:
    """What the N-CREATE says of the step. Raises Malformed for what is absent or may not be so."""
    for tag, field in _REQUIRED.items():
        if not said.has(tag):
            raise _Refusal(status.STEP_ATTRIBUTE_MISSING, f"{field}: absent")
        if not said.text(tag) and not said.items(tag):
            raise _Refusal(status.STEP_VALUE_MISSING, f"{field}: empty")
    if said.text(_STATUS) != PerformedState.IN_PROGRESS:
        raise _Refusal(status.STEP_VALUE_INVALID, f"{_REQUIRED[_STATUS]}: a new step is IN PROGRESS")
    texts = {name: said.text(tag) for name, tag in _TEXTS.items()}
    return Begun(sop_uid=sop_uid, calling_ae=peer, steps=tuple(_scheduled(said)), **texts)


def _scheduled(said: Said) -> Iterator[Scheduled]:
    for item in said.items(_STEPS):
        study_uid = said.text(_STUDY_UID, item)
        if not study_uid:
            code = status.STEP_VALUE_MISSING if _STUDY_UID in item else status.STEP_ATTRIBUTE_MISSING
            raise _Refusal(code, "StudyInstanceUID (0020,000D) of (0040,0270): absent")
        _check_uid(study_uid, status.STEP_VALUE_INVALID)
        yield Scheduled(
            study_uid=Uid(study_uid),
            accession=said.text(0x00080050, item),
            step_id=said.text(0x00400009, item),
            procedure_id=said.text(0x00401001, item),
        )


def read_told(said: Said, ports: Ports) -> Told:
    """What either message says of how it stands. Raises Malformed for a status that there is not."""
    text = said.text(_STATUS)
    try:
        state = PerformedState(text) if text else None
    except ValueError:
        raise _Refusal(status.STEP_VALUE_INVALID, f"{_REQUIRED[_STATUS]}: no such status") from None
    is_final = state in (PerformedState.COMPLETED, PerformedState.DISCONTINUED)
    ended = _instant(said, _END, ports)
    dose = {name: said.text(tag) for name, tag in _DOSE.items()}
    return Told(
        state=state,
        begun=_instant(said, _START, ports),
        ended=ended or (ports.clock() if is_final else None),
        objects=tuple(_objects(said)) if said.has(_SERIES) else None,
        dose=tuple((name, value) for name, value in dose.items() if value),
        discontinued_because=next((said.text(_MEANING, item) for item in said.items(_REASON)), ""),
    )


def _objects(said: Said) -> Iterator[MadeObject]:
    """The objects of every series; one whose UID is none cannot be awaited."""
    count = 0
    for one in said.items(_SERIES):
        for tag, is_image in ((_IMAGES, True), (_OTHERS, False)):
            for item in _items(one, tag):
                sop_uid = said.text(_INSTANCE, item)
                if not _is_uid(sop_uid):
                    continue
                count += 1
                if count > _MAX_OBJECTS:
                    raise Malformed("PerformedSeriesSequence (0040,0340): too many objects")
                yield MadeObject(
                    sop_uid=Uid(sop_uid),
                    sop_class=said.text(_CLASS, item)[:MAX_UID],
                    series_uid=said.text(_SERIES_UID, one)[:MAX_UID],
                    is_image=is_image,
                )


def _instant(said: Said, tags: tuple[int, int], ports: Ports) -> datetime | None:
    """A date and time as an instant; the message's own Timezone Offset From UTC wins over the site's zone."""
    day, time = (said.text(tag) for tag in tags)
    digits = time.split(".")[0].replace(":", "").ljust(6, "0")
    try:
        local = datetime.strptime(day.replace(".", "") + digits, "%Y%m%d%H%M%S")  # noqa: DTZ007
    except ValueError:
        return None
    return local.replace(tzinfo=read_offset(said.text(_ZONE)) or ports.zone).astimezone(UTC)


def _check_uid(uid: str, code: int) -> None:
    if not _is_uid(uid):
        raise _Refusal(code, "UID: not a UID")


def _is_uid(text: str) -> bool:
    """Leading zeros in a component are illegal and common."""
    return 0 < len(text) <= MAX_UID and text.isascii() and text.replace(".", "").isdigit()


def _items(of: Mapping[int, Element], tag: int) -> Sequence[Mapping[int, Element]]:
    element = of.get(tag)
    return [_by_tag(item) for item in element.items] if element is not None else []


def _by_tag(elements: Iterable[Element]) -> Mapping[int, Element]:
    return {element.tag: element for element in elements}
