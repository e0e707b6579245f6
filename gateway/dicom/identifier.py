"""The answer to a worklist query: an order as the data set that the machine asked for. Source: DICOM PS3.4 K.6.1.2.2.

- Every key asked comes back, empty where the order has no value. Private and unknown keys do not.
- The Scheduled Procedure Step Sequence has one item. An empty key item asks for the whole item.
- An order that names no machine is said to be for the one that asks; one whose hour is open starts at 00:00, and one
  without a day starts on the day it was sent: these keys must have a value, and some machines drop their whole list
  over one entry without.
- Specific Character Set: see `charset.choose`. It is sent only where it is needed, asked for or not.
- Timezone Offset From UTC is sent only when asked for.
"""

import logging
import struct
from collections.abc import Iterable
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from pydicom import config
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from gateway.dicom import charset
from gateway.dicom.keys import STEPS, TEXT_VRS, Asked, Key
from gateway.model.ids import OrderId
from gateway.model.lifecycle import State
from gateway.model.order import Attributes, Order, Value

log = logging.getLogger(__name__)

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
_NUMBERS: Final = {
    "FD": "<d",
    "FL": "<f",
    "SL": "<i",
    "SS": "<h",
    "SV": "<q",
    "UL": "<I",
    "US": "<H",
    "UV": "<Q",
}
_MAX_LENGTH = (
    0xFFFE // 2
)  # bytes; half of what a short VR can say, room for escapes. Source: DICOM PS3.5 7.1.2
_INTERNAL = (
    "ScheduledProcedureStepStartDateTime"  # how orders keep it; machines ask for the date and the time
)


def attributes_of(order: Order, *, calling_ae: str, zone: ZoneInfo) -> dict[str, Value]:
    """What the order says, flat, by DICOM keyword, to the machine `calling_ae`; only keywords with a value."""
    start = order.start or order.sent_at
    columns: dict[str, Value] = {
        "PatientName": order.patient.name,
        "PatientID": order.patient.patient_id,
        "IssuerOfPatientID": order.patient.issuer,
        "PatientBirthDate": order.patient.birth_date,
        "PatientSex": order.patient.sex,
        "AccessionNumber": order.accession,
        "StudyInstanceUID": order.study_uid,
        "Modality": order.modality,
        "ScheduledStationAETitle": order.station or calling_ae,
        "ScheduledProcedureStepID": order.step_id,
        "ScheduledProcedureStepStatus": _status(order),
        "ScheduledProcedureStepStartDate": _local(start, zone, "%Y%m%d"),
        "ScheduledProcedureStepStartTime": _local(order.start, zone, "%H%M%S")
        if order.has_time
        else "000000",
        "TimezoneOffsetFromUTC": _local(start, zone, "%z"),
        "RequestedProcedureID": order.procedure_id or order.accession or order.step_id,
    }
    defaults: dict[str, Value] = {
        "RequestedProcedureDescription": order.description,
        "ScheduledProcedureStepDescription": order.description,
        "RequestedProcedurePriority": order.priority,
        "ReferringPhysicianName": order.referring,
        "PlacerOrderNumberImagingServiceRequest": order.placer,
        "FillerOrderNumberImagingServiceRequest": order.filler,
    }
    known = {name: value for name, value in order.attributes.items() if value and name != _INTERNAL}
    return {name: value for name, value in {**defaults, **known, **columns}.items() if value}


def answer(attributes: Attributes, asked: Asked, order_id: OrderId) -> Dataset:
    """The data set that answers `asked`. A value that its VR cannot hold is left empty, and logged."""
    texts: list[str] = []
    dataset = _Writer(order_id, texts).cut(attributes, asked.keys)
    terms = charset.choose(texts, asked.charset)
    if terms:
        dataset.SpecificCharacterSet = terms[0] if len(terms) == 1 else list(terms)
    return dataset


def _status(order: Order) -> str:
    """Source: DICOM PS3.3 C.4.10, Scheduled Procedure Step Status."""
    if order.state is State.STARTED:
        return "STARTED"
    return "ARRIVED" if order.arrived_at else "SCHEDULED"


def _local(instant: datetime | None, zone: ZoneInfo, form: str) -> str:
    return instant.astimezone(zone).strftime(form) if instant else ""


class _Writer:
    """Makes data sets; `texts` takes up every text whose character set is open."""

    def __init__(self, order_id: OrderId, texts: list[str]) -> None:
        self._order_id, self._texts = order_id, texts

    def cut(self, attributes: Attributes, keys: Iterable[Key]) -> Dataset:
        """Exactly the keys."""
        dataset = Dataset()
        for key in keys:
            value: Value = attributes.get(key.keyword, "")
            if key.keyword == STEPS:
                value = ({name: attributes[name] for name in STEP_KEYS if name in attributes},)
            wanted = key.items[0] if key.items else ()
            dataset.add(self._element(key.tag, key.keyword, key.vr, value, wanted))
        return dataset

    def whole(self, attributes: Attributes) -> Dataset:
        """Everything there is."""
        dataset = Dataset()
        for keyword, value in attributes.items():
            tag = tag_for_keyword(keyword)
            if tag is not None:
                dataset.add(self._element(tag, keyword, dictionary_VR(tag).split(" or ")[0], value, ()))
        return dataset

    def _element(self, tag: int, keyword: str, vr: str, value: Value, wanted: tuple[Key, ...]) -> DataElement:
        if vr == "SQ":
            items = () if isinstance(value, str) else value
            cut = [self.cut(item, wanted) if wanted else self.whole(item) for item in items]
            return DataElement(tag, vr, Sequence(cut))
        try:
            held = _held(vr, value if isinstance(value, str) else "")
            element = DataElement(tag, vr, held, validation_mode=config.IGNORE)
        except (ValueError, OverflowError, struct.error):
            log.warning("worklist.value_left_out", extra={"order": self._order_id, "keyword": keyword})
            return DataElement(tag, vr, None)
        if vr in TEXT_VRS and isinstance(value, str):
            self._texts.append(value)
        return element


def _held(vr: str, text: str) -> str | int | float | list[int] | list[float] | None:
    """The value as pydicom encodes it. Raises ValueError, struct.error when the VR cannot hold it."""
    if not text:
        return None
    if vr in _NUMBERS:
        numbers = [_number(vr, part) for part in text.split("\\")]
        return numbers if len(numbers) > 1 else numbers[0]
    if vr not in TEXT_VRS and not text.isascii():
        raise ValueError("only ASCII can stand there")
    if len(text.encode()) > _MAX_LENGTH:
        raise ValueError("too long")
    return text


def _number(vr: str, text: str) -> int | float:
    number = float(text) if vr in ("FD", "FL") else int(text)
    struct.pack(_NUMBERS[vr], number)
    return number
