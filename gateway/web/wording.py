"""How things are said and shown: states as chips, days, times, ages and numbers in a receptionist's words."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from zoneinfo import ZoneInfo

from gateway.model.delivery import Delivery, DeliveryState
from gateway.model.lifecycle import State
from gateway.model.measurement import Measurement
from gateway.model.message import MessageState
from gateway.model.performed import PerformedState
from gateway.model.station import Station
from gateway.model.study import StudyState

_UNTRUE_UNITS = frozenset({"1", "{ratio}", "{score}"})
"""UCUM's ways to say that there is no unit. Source: UCUM 6, "the unity"; DICOM CID 7460."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chip:
    """A state as text, shape and colour together: none of the three alone has to be seen."""

    label: str
    icon: str  # a shape of `icons.html`
    tone: str  # a colour of `style.css`
    hint: str = ""


ORDER_CHIPS: dict[State, Chip] = {
    State.HELD: Chip(
        label="Held", icon="alert", tone="warn", hint="Something must be settled before it can go"
    ),
    State.SCHEDULED: Chip(label="Ready", icon="ring", tone="ready", hint="Not on any machine yet"),
    State.SENT: Chip(label="Sent", icon="arrow", tone="sent", hint="On the machine's worklist"),
    State.STARTED: Chip(label="In progress", icon="half", tone="busy", hint="The machine is at it"),
    State.COMPLETED: Chip(label="Done", icon="check", tone="done", hint="All images are here"),
    State.DISCONTINUED: Chip(
        label="Stopped", icon="square", tone="off", hint="Begun or planned, and given up"
    ),
    State.CANCELLED: Chip(label="Cancelled", icon="cross", tone="off", hint="Taken back"),
    State.EXPIRED: Chip(label="Expired", icon="clock", tone="off", hint="Left behind by its day"),
}

STUDY_CHIPS: dict[StudyState, Chip] = {
    StudyState.RECEIVING: Chip(label="Receiving", icon="half", tone="busy"),
    StudyState.COMPLETE: Chip(label="Complete", icon="check", tone="done"),
}

MESSAGE_CHIPS: dict[MessageState, Chip] = {
    MessageState.RECEIVED: Chip(label="Received", icon="clock", tone="ready", hint="About to be mapped"),
    MessageState.MAPPED: Chip(label="Mapped", icon="check", tone="done"),
    MessageState.HELD: Chip(label="Held", icon="alert", tone="warn"),
    MessageState.SKIPPED: Chip(label="Skipped", icon="square", tone="off"),
    MessageState.FAILED: Chip(label="Failed", icon="cross", tone="bad"),
    MessageState.DISCARDED: Chip(label="Discarded", icon="square", tone="off"),
    MessageState.SUPERSEDED: Chip(label="Superseded", icon="square", tone="off"),
}

DELIVERY_CHIPS: dict[DeliveryState, Chip] = {
    DeliveryState.PENDING: Chip(label="Waiting", icon="clock", tone="ready"),
    DeliveryState.SENDING: Chip(label="Sending", icon="arrow", tone="busy"),
    DeliveryState.DELIVERED: Chip(label="Delivered", icon="check", tone="done"),
    DeliveryState.DEAD: Chip(label="Failed", icon="cross", tone="bad"),
    DeliveryState.SUPERSEDED: Chip(label="Superseded", icon="square", tone="off"),
}


_STATUS = ("ORM^O01 ", "OMG^O19 ", "Task ", "ServiceRequest ")
_STATUS_WORDS = {
    "SC": "Order sent to a machine",
    "AR": "Patient arrived",
    "IP": "Order started",
    "CM": "Order completed",
    "CA": "Order cancelled",
    "DC": "Order discontinued",
    "accepted": "Order sent to a machine",
    "in-progress": "Order started",
    "completed": "Order completed",
    "cancelled": "Order cancelled",
    "failed": "Order discontinued",
    "revoked": "Order ended",
}
_NEWS_WORDS = {"ImagingStudy": "Study", "ORU^R01": "Results"}


def news_words(kind: str) -> str:
    """ "Order started (ORM^O01)": what a delivery says, and how."""
    message, _, status = kind.partition(" ")
    said = _STATUS_WORDS.get(status) or _NEWS_WORDS.get(message)
    return f"{said} ({message})" if said else kind


def order_chip(state: State, station: str) -> Chip:
    """The chip of an order; one that was sent says to which machine."""
    chip = ORDER_CHIPS[state]
    if state is not State.SENT:
        return chip
    where = station or "every list"
    return Chip(label=f"On {where}", icon=chip.icon, tone=chip.tone, hint=chip.hint)


def told_chip(deliveries: Iterable[Delivery]) -> Chip | None:
    """What the EHR knows of an order's study: the worst that still counts; None without any.

    News of the order's status counts only where it failed.
    """
    counting = (d for d in deliveries if d.state is DeliveryState.DEAD or not d.kind.startswith(_STATUS))
    states = {d.state: d for d in counting if d.state is not DeliveryState.SUPERSEDED}
    for state in (DeliveryState.DEAD, DeliveryState.SENDING, DeliveryState.PENDING, DeliveryState.DELIVERED):
        if state in states:
            chip = DELIVERY_CHIPS[state]
            if state is DeliveryState.PENDING and states[state].attempts:
                return Chip(label="Trying again", icon="alert", tone="warn")
            return Chip(label="Told", icon="check", tone="done") if state is DeliveryState.DELIVERED else chip
    return None


def station_name(stations: Iterable[Station], ae_title: str) -> str:
    """The machine's name as people say it, its AE title when it is not configured, "" for none."""
    return next((s.name or s.ae_title for s in stations if s.ae_title == ae_title), ae_title)


def clock_words(instant: datetime | None, zone: ZoneInfo) -> str:
    """ "10:30" on the site's clock; "" for None."""
    return f"{instant.astimezone(zone):%H:%M}" if instant else ""


def moment_words(instant: datetime | None, zone: ZoneInfo) -> str:
    """ "23 Nov 2026, 10:30:05" on the site's clock; "" for None."""
    if instant is None:
        return ""
    local = instant.astimezone(zone)
    return f"{day_words(local.date())}, {local:%H:%M:%S}"


def day_words(day: date) -> str:
    """ "23 Nov 2026": no reader takes the day for the month."""
    return f"{day.day} {day:%b %Y}"


def near_day_words(day: date) -> str:
    """ "Mon 23 Nov": a day close by."""
    return f"{day:%a} {day.day} {day:%b}"


def read_day(dicom: str) -> date | None:
    """The day of a DICOM date, None when it is none. Source: DICOM PS3.5 6.2, DA."""
    try:
        return datetime.strptime(dicom, "%Y%m%d").date()  # noqa: DTZ007
    except ValueError:
        return None


def birth_words(dicom: str) -> str:
    """ "12 Mar 1985", what the sender wrote when it is no date, "date unknown" when empty."""
    day = read_day(dicom)
    return day_words(day) if day else dicom or "date unknown"


def age_words(birth: str, today: date) -> str:
    """ "41 y"; below two years "14 mo", below a month "9 d"; "" when the birth date says nothing."""
    born = read_day(birth)
    if born is None or born > today:
        return ""
    months = (today.year - born.year) * 12 + today.month - born.month - (today.day < born.day)
    if months >= 24:
        return f"{months // 12} y"
    return f"{months} mo" if months else f"{(today - born).days} d"


def sex_words(code: str) -> str:
    """The sex in a word. Source: DICOM PS3.3 C.7.1.1, Patient's Sex."""
    return {"F": "female", "M": "male", "O": "other"}.get(code, "")


def person_words(name: str) -> str:
    """A DICOM person name as one reads it: "Doe, Jane Q"; "(no name)" when there is none."""
    family, _, rest = name.split("=", 1)[0].partition("^")
    given = " ".join(part for part in rest.split("^")[:2] if part)
    return ", ".join(part for part in (family, given) if part) or "(no name)"


def measurement_words(found: Measurement) -> str:
    """ "52.1 mm", the digits as the machine wrote them."""
    if not found.value:
        return "not given"
    unit = found.unit.value if found.unit else ""
    return found.value if not unit or unit in _UNTRUE_UNITS else f"{found.value} {unit}"


def size_words(size: int) -> str:
    """ "1.4 MB" of bytes."""
    if size < 1000:
        return f"{size} bytes"
    return f"{size / 1000:.0f} kB" if size < 1_000_000 else f"{size / 1_000_000:.1f} MB"


def keyword_words(keyword: str) -> str:
    """ "Patient ID" of `PatientID`: a DICOM keyword with its words apart."""
    spaced = ""
    for at, char in enumerate(keyword):
        starts = char.isupper() and at > 0
        after_small = starts and not keyword[at - 1].isupper()
        before_small = starts and keyword[at + 1 : at + 2].islower()
        spaced += f" {char}" if after_small or before_small else char
    return spaced


def exam_words(state: PerformedState) -> str:
    """What a machine tells of its exam."""
    words = {PerformedState.IN_PROGRESS: "in progress", PerformedState.COMPLETED: "completed"}
    return words.get(state, "given up")


def asked_words(keys: Iterable[tuple[str, str]]) -> str:
    """ "Modality US, Scheduled Station AE Title US1": what a machine searched by; a patient's values are not said."""
    shown = []
    for path, text in keys:
        keyword = path.rpartition(".")[2]
        is_open = any(word in keyword for word in ("Station", "Modality", "StartDate", "StartTime"))
        day = read_day(text)
        value = f" {day_words(day) if day else text}" if is_open else ""
        shown.append(keyword_words(keyword) + value)
    return ", ".join(shown) or "everything"


def actor_words(actor: str) -> str:
    """ "anna", "HL7 (ris)", "machine US1", "the gateway": who an audit event names."""
    kind, _, name = actor.partition(":")
    told = {
        "user": name,
        "hl7": f"HL7 ({name})",
        "fhir": f"FHIR ({name})",
        "dicom": f"machine {name}",
        "token": f"program {name}",
    }
    return told.get(kind, "the gateway" if actor == "gateway" else actor)


def deed_words(action: str) -> str:
    """ "Sent" for "order.send"; an action we have no word for as it stands."""
    return _DEEDS.get(action, action)


_DEEDS = {
    "sender.refuse": "Refused a sender",
    "order.scheduled": "Received",
    "order.held": "Received and held",
    "order.cancelled": "Received as cancelled",
    "order.change": "Changed",
    "order.hold": "Held",
    "order.accept": "Settled",
    "order.send": "Sent",
    "order.recall": "Recalled",
    "order.start": "Started",
    "order.complete": "Completed",
    "order.discontinue": "Stopped",
    "order.cancel": "Cancelled",
    "order.expire": "Expired",
    "order.arrive": "Patient arrived",
    "order.unschedule": "Appointment taken back",
    "order.patient": "Patient's details changed",
    "order.refuse": "It was to be taken back, but that came too late",
    "order.late": "An older message came late and was left out",
    "order.merge": "Moved to the patient it was merged into",
    "order.merge-waits": "Patient merged: moves when the exam is over",
    "order.redirect": "Came under a merged patient ID",
    "order.unmerge": "Moved back: the merge was undone",
    "order.discontinued": "Received as stopped",
    "order.view": "Opened",
    "study.view": "Opened",
    "study.retrieve": "Retrieved",
    "message.view": "Opened",
    "message.replay": "Tried again",
    "message.edit": "Edited",
    "message.edited": "Made as an edited copy",
    "message.discard": "Put away",
    "mappings.activate": "Activated",
}
