"""Why: whether a machine has an order on its list, from what it asked and got; if not, what stands in the way."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from datetime import datetime

from gateway.flow.ports import Ports
from gateway.flow.release import fitting
from gateway.model.ids import OrderId
from gateway.model.lifecycle import State
from gateway.model.order import Order, Severity
from gateway.model.receipt import Asking, Cause, Ending, Sighting
from gateway.model.worklist import Match, Range, WorklistQuery
from gateway.store import orders, receipts, worklist
from gateway.store.database import Tx
from gateway.store.matching import accepts


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One plain sentence, and what to do about it; "" when there is nothing to do."""

    text: str
    advice: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Whether the station (an AE title) has the order on its list, and why, the plainest reason first."""

    order_id: OrderId
    station: str
    name: str  # of the station, as people call it
    is_listed: bool
    findings: tuple[Finding, ...]


_STATES = {
    State.SCHEDULED: Finding(
        text="It has not been sent to any machine.", advice="Press “Send to machine” at the order."
    ),
    State.STARTED: Finding(
        text="The exam has begun, and an exam that has begun leaves the list.",
        advice="If machines shall find it until the end, set worklist.show_started.",
    ),
    State.COMPLETED: Finding(
        text="The exam is done.", advice="For another exam the sender must send another order."
    ),
    State.DISCONTINUED: Finding(
        text="The exam was given up.", advice="For another try the sender must send another order."
    ),
    State.CANCELLED: Finding(
        text="The order was cancelled.", advice="If it is wanted after all, the sender must order again."
    ),
    State.EXPIRED: Finding(
        text="The order expired: nobody came for it on its day.",
        advice="Ask the sender for a new date; the order can be sent again then.",
    ),
}
_KEYS = {
    "patient_name": "Patient's Name",
    "patient_id": "Patient ID",
    "issuer": "Issuer of Patient ID",
    "accession": "Accession Number",
    "procedure_id": "Requested Procedure ID",
    "study_uid": "Study Instance UID",
    "step_id": "Scheduled Procedure Step ID",
}


def explain(ports: Ports, order_id: OrderId, station: str) -> Answer:
    """The answer for one order and one station. Raises NotFound for an unknown order."""
    with ports.database.read() as tx:
        return _Case(ports, tx, orders.show(tx, order_id), station).answer()


def explain_all(ports: Ports, order_id: OrderId) -> tuple[Answer, ...]:
    """The answers for every station that could have it: where it was sent, what fits it, who has seen it."""
    with ports.database.read() as tx:
        order = orders.show(tx, order_id)
        seen = receipts.of_orders(tx, [order_id]).get(order_id, ())
        titles = [part.strip() for part in order.station.split("\\") if part.strip()]
        titles += [one.ae_title for one in fitting(ports, order)] if ports.stations else []
        titles += [one.station for one in seen]
        return tuple(_Case(ports, tx, order, title).answer() for title in dict.fromkeys(titles))


class _Case:
    """One order and one station, with what is known of both."""

    def __init__(self, ports: Ports, tx: Tx, order: Order, station: str) -> None:
        self._ports, self._tx, self._order, self._station = ports, tx, order, station
        self._asked = receipts.recent(tx, station)
        found = receipts.of_orders(tx, [order.id]).get(order.id, ())
        self._sighting = next((one for one in found if one.station == station), None)
        self._since = order.sent_at or order.created_at
        self._name = _name(ports, station)

    def answer(self) -> Answer:
        """The verdict and its reasons."""
        order, seen = self._order, self._sighting
        is_open = order.state in self._ports.listed
        is_listed = is_open and seen is not None and seen.is_seen_since(self._since)
        if not is_open:
            findings = [self._state()]
        elif is_listed and seen is not None:
            findings = list(self._on_list(seen))
        else:
            findings = list(self._reasons()) or [self._soon()]
        return Answer(
            order_id=order.id,
            station=self._station,
            name=self._name,
            is_listed=is_listed,
            findings=tuple(findings),
        )

    def _state(self) -> Finding:
        order = self._order
        if order.state is not State.HELD:
            return _STATES.get(order.state, Finding(text=f"The order is {order.state}."))
        texts = [fault.text for fault in order.faults if fault.severity is not Severity.WARN]
        why = "; ".join(dict.fromkeys(texts)) or "the sender asked to wait with it"
        return Finding(
            text=f"The order is held: {why}.",
            advice="It can be sent as soon as the sender corrects it.",
        )

    def _on_list(self, seen: Sighting) -> Iterator[Finding]:
        yield Finding(text=f"It is on the list: {self._name} got it at {self._clock(seen.seen_at)}.")
        latest = self._asked[0] if self._asked else None
        if latest is None or seen.seen_at is None or latest.last_at <= seen.seen_at:
            return
        for one in self._excluded(latest):
            words = f"It asked for less at {self._clock(latest.last_at)}. {one.text}"
            yield Finding(text=words, advice=one.advice)

    def _reasons(self) -> Iterator[Finding]:
        latest = self._asked[0] if self._asked else None
        if latest is None or latest.query is None or latest.last_at < self._since:
            yield from self._other_machine()
        yield from self._kept_back()
        if latest is None:
            yield self._never_asked()
            return
        if latest.last_at < self._since:
            yield Finding(
                text=f"{self._name} has not asked for its list since the order was sent at "
                f"{self._clock(self._since)}; it last asked at {self._clock(latest.last_at)}.",
                advice="Refresh the worklist on the machine.",
            )
        yield from self._bad_ending(latest)
        yield from self._excluded(latest)

    def _other_machine(self) -> Iterator[Finding]:
        named = [part.strip() for part in self._order.station.split("\\") if part.strip()]
        if named and self._station not in named:
            where = ", ".join(_name(self._ports, one) for one in named)
            yield Finding(
                text=f"It was sent to {where}, not to {self._name}.",
                advice=f"Recall it and send it to {self._name}.",
            )

    def _kept_back(self) -> Iterator[Finding]:
        seen = self._sighting
        if seen is None or seen.missed_at is None or seen.missed_at < self._since or seen.cause is None:
            return
        at = self._clock(seen.missed_at)
        if seen.cause is Cause.PROFILE:
            yield Finding(
                text=f"It was kept back at {at}, because {self._name} could not take it: {seen.detail}.",
                advice=f"Ask the sender to correct that value, or change the machine's profile ({seen.profile}).",
            )
        elif seen.cause is Cause.LIMIT:
            yield Finding(
                text=f"At {at} more orders matched than {self._name} can take at once.",
                advice="Let the machine ask for less, such as today's orders only.",
            )
        elif seen.cause is Cause.FAULT:
            yield Finding(
                text=f"It could not be put into an answer at {at}: a fault of the gateway.",
                advice="See the log for worklist.entry_left_out.",
            )
        else:
            yield Finding(
                text=f"{self._name} asked at {at} with the key {seen.detail}, which this order does not match.",
                advice="Clear that search on the machine.",
            )

    def _never_asked(self) -> Finding:
        return Finding(
            text=f"{self._name} has never asked for its worklist.",
            advice="Check on the machine: its own AE title "
            f"({self._station}), the gateway's address, port and AE title; then refresh its list.",
        )

    def _bad_ending(self, latest: Asking) -> Iterator[Finding]:
        at = self._clock(latest.last_at)
        if latest.ending is Ending.REFUSED:
            yield Finding(
                text=f"The last question of {self._name}, at {at}, could not be read: {latest.reason}.",
                advice="Change that key in the machine's worklist settings.",
            )
        elif latest.ending is Ending.FAILED:
            yield Finding(
                text=f"The last question of {self._name}, at {at}, could not be answered: {latest.reason}.",
                advice="See whether the gateway is well (gateway check), then refresh the machine's list.",
            )
        elif latest.ending is Ending.CANCELLED and latest.last_at >= self._since:
            yield Finding(
                text=f"{self._name} broke off at {at}, before the answer was whole.",
                advice="Refresh the worklist on the machine.",
            )

    def _excluded(self, latest: Asking) -> Iterator[Finding]:
        """Which of the machine's keys do not match the order, each tried alone by the same search."""
        query = latest.query
        if query is None:
            return
        for name in (field.name for field in fields(query)):
            value = getattr(query, name)
            if isinstance(value, Match | Range) and not self._matches(query, name):
                yield self._unmatched(name, query)

    def _matches(self, query: WorklistQuery, name: str) -> bool:
        """Days and hours are one condition, told as the day's."""
        order = self._order
        if name == "study_uid":
            return query.study_uid is not None and accepts(query.study_uid, order.study_uid)
        if name == "time" and query.date is not None:
            return True
        asked = {name: getattr(query, name), "study_uid": Match(values=(order.study_uid,))}
        if name == "date":
            asked["time"] = query.time
        if name == "patient_name":
            asked["is_fuzzy"] = query.is_fuzzy
        found = worklist.find(self._tx, WorklistQuery(**asked), [order.state])
        return any(one.id == order.id for one in found)

    def _unmatched(self, name: str, query: WorklistQuery) -> Finding:
        order = self._order
        if name == "station" and query.station is not None:
            elsewhere = next(self._other_machine(), None)
            return elsewhere or Finding(
                text=f"{self._name} asks for orders of {', '.join(query.station.values)}; "
                f"this one is for {order.station}.",
                advice=f"Recall it and send it to the right machine, or let the machine ask for {order.station}.",
            )
        if name == "modality" and query.modality is not None:
            return Finding(
                text=f"{self._name} asks for the modality {', '.join(query.modality.values)}; "
                f"this order's is {order.modality or 'not known'}.",
                advice="Change the modality in the machine's worklist settings, or let the sender correct it.",
            )
        if name in ("date", "time"):
            return Finding(
                text=f"{self._name} asks for orders of {_days(query.date)}{_hours(query.time)}; "
                f"this one is {self._start()}.",
                advice="Choose other dates on the machine, or let the sender move the order.",
            )
        key = _KEYS.get(name, name)
        return Finding(
            text=f"{self._name} asks with the key {key}, which this order does not match.",
            advice="Clear that search on the machine.",
        )

    def _soon(self) -> Finding:
        return Finding(
            text=f"Nothing stands in the way: {self._name} gets it when it asks again.",
            advice="Refresh the worklist on the machine.",
        )

    def _start(self) -> str:
        order = self._order
        start = order.start or order.sent_at
        if start is None:
            return "on no day"
        local = start.astimezone(self._ports.zone)
        return f"on {_day(local)}{f', {local:%H:%M}' if order.has_time else ''}"

    def _clock(self, instant: datetime | None) -> str:
        """The time of day; with the day when it is another one than today."""
        if instant is None:
            return "an unknown time"
        zone = self._ports.zone
        local, today = instant.astimezone(zone), self._ports.clock().astimezone(zone).date()
        return f"{local:%H:%M}" if local.date() == today else f"{local:%H:%M} on {_day(local)}"


def _name(ports: Ports, station: str) -> str:
    known = next((one.name for one in ports.stations if one.ae_title == station and one.name), "")
    return f"{known} ({station})" if known and known != station else station


def _day(local: datetime) -> str:
    return f"{local.day} {local:%b %Y}"


def _days(span: Range | None) -> str:
    if span is None:
        return "any day"
    first, last = (_shown_day(text) for text in (span.first, span.last))
    if first == last:
        return first
    return " ".join(part for part in (f"from {first}" if first else "", f"to {last}" if last else "") if part)


def _shown_day(text: str) -> str:
    try:
        return _day(datetime.strptime(text, "%Y%m%d")) if text else ""  # noqa: DTZ007
    except ValueError:
        return text


def _hours(span: Range | None) -> str:
    if span is None:
        return ""
    first, last = (f"{text[:2]}:{text[2:4]}" if text else "" for text in (span.first, span.last))
    return f" between {first or '00:00'} and {last or '24:00'}"
