"""The day's list: orders with all that the receptionist decides by, read in one transaction."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from gateway.flow.ports import Ports
from gateway.flow.release import fitting
from gateway.model.delivery import Delivery
from gateway.model.ids import OrderId
from gateway.model.lifecycle import State, Step, is_allowed
from gateway.model.measurement import Measurement
from gateway.model.message import MessageState
from gateway.model.order import Order, Severity
from gateway.model.patient import Patient
from gateway.model.performed import Performed
from gateway.model.receipt import Cause, Sighting
from gateway.model.station import Station
from gateway.model.study import Instance, PictureState, Study
from gateway.store import changes, inbox, orders, outbox, performed, receipts, studies
from gateway.store.database import Tx
from gateway.web.wording import Chip, order_chip, station_name, told_chip

SHOWN_PICTURES = 4
SHOWN_MEASUREMENTS = 3
_LATELY = timedelta(days=1)
_LOOKED_FOR = timedelta(days=3)
_OPEN = frozenset({State.HELD, State.SCHEDULED, State.SENT, State.STARTED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """What of the day is shown. `state` is a state, "open" or "" for all; `station` an AE title or ""."""

    state: str = ""
    station: str = ""

    def keeps(self, order: Order) -> bool:
        """Whether the order is shown. One that names no machine belongs to every machine."""
        in_state = not self.state or (
            order.state in _OPEN if self.state == "open" else order.state == self.state
        )
        return in_state and (not self.station or order.station in ("", self.station))


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One order on the list."""

    order: Order
    chip: Chip
    station: str  # the machine's name, "" when any
    has_namesake: bool  # another patient of the same name is on the day's list
    choices: tuple[Station, ...]  # where it can be sent, the likeliest first; empty when it cannot
    can_recall: bool
    reasons: tuple[str, ...]  # why it is held, or what else to know
    studies: tuple[Study, ...]
    told: Chip | None
    told_at: datetime | None
    sightings: tuple[Sighting, ...]  # what became of it in the answers to each machine

    @property
    def seen(self) -> tuple[Sighting, ...]:
        """The machines that have got it since it was sent."""
        since = self.order.sent_at or self.order.created_at
        return tuple(one for one in self.sightings if one.is_seen_since(since))

    @property
    def kept_back(self) -> tuple[Sighting, ...]:
        """The machines that it was kept back from since it was sent, and not for what they searched."""
        since = self.order.sent_at or self.order.created_at
        return tuple(
            one
            for one in self.sightings
            if one not in self.seen
            and one.cause not in (None, Cause.KEY)
            and one.missed_at is not None
            and one.missed_at >= since
        )

    @property
    def pictures(self) -> tuple[tuple[Study, Instance], ...]:
        """The first few instances that have a picture."""
        found = [(s, i) for s in self.studies for i in pictured(s)]
        return tuple(found[:SHOWN_PICTURES])

    @property
    def image_count(self) -> int:
        """How many objects came for it."""
        return sum(study.instance_count for study in self.studies)

    @property
    def measured(self) -> tuple[Measurement, ...]:
        """The first few numbers."""
        return tuple(m for study in self.studies for m in study.measurements)[:SHOWN_MEASUREMENTS]

    @property
    def measurement_count(self) -> int:
        """How many numbers its machine measured."""
        return sum(len(study.measurements) for study in self.studies)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """The day: held orders first, for they wait for somebody; then by time."""

    since: int  # the newest change that is drawn
    drawn_at: datetime
    held: tuple[Row, ...]
    rows: tuple[Row, ...]
    hidden: int  # how many the filters hide
    held_elsewhere: tuple[tuple[date, int], ...]  # other days with held orders, and how many
    look: tuple[Study, ...]  # images without an order, or with a doubtful one
    exams: tuple[Performed, ...]  # exams that machines tell of, without an order or with a doubtful one
    refused: int  # messages of the last day that were not taken
    doubtful: int  # messages of the last day with something for a person to settle


def of_day(ports: Ports, day: date, filters: Filters) -> Listing:
    """The orders of a day of the site."""
    with ports.database.read() as tx:
        since = changes.latest(tx)
        key = f"{day:%Y%m%d}"
        found = orders.of_days(tx, key, key)
        rows = _rows(tx, ports, found, filters)
        look = studies.unlinked(tx)
        exams = performed.unscheduled(tx, ports.clock() - _LOOKED_FOR)
        refused = inbox.count(tx, MessageState.FAILED, since=ports.clock() - _LATELY)
        doubtful = inbox.count(tx, MessageState.HELD, since=ports.clock() - _LATELY)
        elsewhere = _held_elsewhere(tx, ports, day)
    return Listing(
        since=since,
        drawn_at=ports.clock(),
        held=tuple(row for row in rows if row.order.state is State.HELD),
        rows=tuple(row for row in rows if row.order.state is not State.HELD),
        hidden=len(found) - len(rows),
        held_elsewhere=elsewhere,
        look=look,
        exams=exams,
        refused=refused,
        doubtful=doubtful,
    )


def row_of(
    ports: Ports,
    order: Order,
    studies_of: Iterable[Study],
    deliveries: Iterable[Delivery],
    has_namesake: bool = False,
    sightings: Iterable[Sighting] = (),
) -> Row:
    """The order as a row."""
    told = tuple(deliveries)
    return Row(
        order=order,
        chip=order_chip(order.state, order.station),
        station=station_name(ports.stations, order.station),
        has_namesake=has_namesake,
        choices=_choices(ports, order) if is_allowed(order.state, Step.SEND) else (),
        can_recall=is_allowed(order.state, Step.RECALL),
        reasons=_reasons(order),
        studies=tuple(studies_of),
        told=told_chip(told),
        told_at=max((d.delivered_at for d in told if d.delivered_at), default=None),
        sightings=tuple(sightings),
    )


def has_namesake(tx: Tx, ports: Ports, order: Order) -> bool:
    """Whether another patient of the same name is on the list of the order's day."""
    if order.start is None:
        return False
    key = f"{order.start.astimezone(ports.zone):%Y%m%d}"
    return _namesakes(orders.of_days(tx, key, key))[_name(order.patient)] > 1


def pictured(study: Study) -> tuple[Instance, ...]:
    """The instances of a study that have a picture, in the order they came."""
    return tuple(
        i
        for series in study.series
        for i in series.instances
        if i.picture is PictureState.READY and i.thumbnail
    )


def _rows(tx: Tx, ports: Ports, found: tuple[Order, ...], filters: Filters) -> tuple[Row, ...]:
    kept = [order for order in found if filters.keeps(order)]
    ids = [order.id for order in kept]
    studies_of: dict[OrderId, list[Study]] = {}
    for study in studies.of_orders(tx, ids):
        if study.order_id is not None:
            studies_of.setdefault(study.order_id, []).append(study)
    told: dict[OrderId, list[Delivery]] = {}
    for delivery in outbox.of_orders(tx, ids):
        if delivery.order_id is not None:
            told.setdefault(delivery.order_id, []).append(delivery)
    namesakes = _namesakes(found)
    seen = receipts.of_orders(tx, ids)
    return tuple(
        row_of(
            ports,
            o,
            studies_of.get(o.id, ()),
            told.get(o.id, ()),
            namesakes[_name(o.patient)] > 1,
            seen.get(o.id, ()),
        )
        for o in kept
    )


def _namesakes(found: Iterable[Order]) -> Mapping[str, int]:
    """Name to how many different people on the list bear it."""
    people = {(_name(o.patient), o.patient.patient_id, o.patient.birth_date) for o in found}
    return Counter(name for name, _, _ in people)


def _name(patient: Patient) -> str:
    parts = patient.name.split("=", 1)[0].casefold().split("^")
    return "^".join(part.strip() for part in parts[:2])


def _choices(ports: Ports, order: Order) -> tuple[Station, ...]:
    """The fitting machines, the one the order names first; where none is configured, any machine there is."""
    if not ports.stations:
        return (Station(ae_title="", name="any machine", modality=""),)
    able = fitting(ports, order)
    named = tuple(s for s in ports.stations if s.ae_title == order.station)
    return named + tuple(s for s in able if s not in named)


def _reasons(order: Order) -> tuple[str, ...]:
    if order.state is not State.HELD:
        return ()
    texts = [fault.text for fault in order.faults if fault.severity is not Severity.WARN]
    return tuple(dict.fromkeys(texts)) or ("the sender asked to wait with it",)


def _held_elsewhere(tx: Tx, ports: Ports, day: date) -> tuple[tuple[date, int], ...]:
    days = Counter(
        order.start.astimezone(ports.zone).date()
        for order in orders.newest(tx, state=State.HELD)
        if order.start is not None
    )
    return tuple(sorted((other, count) for other, count in days.items() if other != day))
