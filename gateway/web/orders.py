"""One order: all that is known about it, and what a person does with it."""

import json
from collections.abc import Callable
from dataclasses import dataclass

from starlette.responses import Response

from gateway.flow import release
from gateway.flow.why import Answer, explain_all
from gateway.mapping.explain import Trace, trace
from gateway.model.audit import AuditEvent
from gateway.model.delivery import Delivery
from gateway.model.errors import Conflict, Invalid, Malformed
from gateway.model.ids import OrderId
from gateway.model.lifecycle import FINAL, State, Step, is_allowed
from gateway.model.order import Order, Provenance, Value
from gateway.model.performed import Performed
from gateway.model.user import Permission
from gateway.store import audit, changes, inbox, orders, outbox, performed, receipts, studies
from gateway.web.listing import Row, has_namesake, row_of
from gateway.web.notice import notice_of
from gateway.web.site import Site, Visit, go_saying, render


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribute:
    """One attribute of the order and where it came from; `provenance` is None for what was left from before."""

    keyword: str
    value: str  # a sequence as JSON
    provenance: Provenance | None
    anchor: str = ""  # the first marked place of the message that it came from, "" when none is marked


@dataclass(frozen=True, slots=True, kw_only=True)
class Detail:
    """The whole order."""

    since: int
    row: Row
    attributes: tuple[Attribute, ...]
    history: tuple[AuditEvent, ...]
    deliveries: tuple[Delivery, ...]
    can_cancel: bool
    machines: tuple[Answer, ...]  # whether each machine has it, and why not; none once it is over
    exams: tuple[Performed, ...]  # what machines told of their work on it
    trace: Trace | None  # the message with the places used; None for who may not read messages


def show(site: Site, visit: Visit) -> Response:
    """The order's page. That somebody opened it is recorded. Raises NotFound."""
    order_id = OrderId(visit.number("id"))
    detail = _detail(site, visit, order_id)
    if not visit.is_fragment:
        record_view(site, visit, "order", order_id)
    return render(site, visit, "order.html", detail=detail, since=detail.since, notice=notice_of(site, visit))


def send(site: Site, visit: Visit) -> Response:
    """The order is on the chosen machine's list. Raises NotFound, Invalid; a conflict is shown as one."""
    order_id = OrderId(visit.number("id"))
    station = visit.form.get("station") or None

    def act() -> Order:
        return release.send(site.ports, order_id, actor=visit.actor, station=station, version=_version(visit))

    return _acted(site, visit, order_id, "sent", act, station)


def recall(site: Site, visit: Visit) -> Response:
    """The order is off the machine's list again. Raises NotFound; a conflict is shown as one."""
    order_id = OrderId(visit.number("id"))

    def act() -> Order:
        return release.recall(site.ports, order_id, actor=visit.actor, version=_version(visit))

    return _acted(site, visit, order_id, "recalled", act)


def cancel(site: Site, visit: Visit) -> Response:
    """The order is cancelled. Raises NotFound; a conflict is shown as one."""
    order_id = OrderId(visit.number("id"))

    def act() -> Order:
        return release.cancel(site.ports, order_id, actor=visit.actor, version=_version(visit))

    return _acted(site, visit, order_id, "cancelled", act)


def record_view(site: Site, visit: Visit, kind: str, number: int) -> None:
    """The audit trail says that the visitor opened that thing."""
    event = AuditEvent(
        at=site.ports.clock(),
        actor=visit.actor,
        action=f"{kind}.view",
        subject=f"{kind}:{number}",
        detail="page",
    )
    with site.ports.database.write() as tx:
        audit.record(tx, event)


def _acted(
    site: Site,
    visit: Visit,
    order_id: OrderId,
    said: str,
    act: Callable[[], Order],
    station: str | None = None,
) -> Response:
    back = visit.back("/")
    try:
        act()
    except Conflict as conflict:
        if said != "sent" or not _is_sent_already(site, visit, order_id, station):
            return _conflict(site, visit, order_id, conflict, back)
    return go_saying(site, f"{back}#order-{order_id}", f"{said}.{order_id}")


def _is_sent_already(site: Site, visit: Visit, order_id: OrderId, station: str | None) -> bool:
    """Whether the same person did the same thing just before: a button pressed twice."""
    with site.ports.database.read() as tx:
        order = orders.show(tx, order_id)
    return (
        order.state is State.SENT
        and order.sent_by == visit.actor
        and (not station or order.station == station)
    )


def _conflict(site: Site, visit: Visit, order_id: OrderId, conflict: Conflict, back: str) -> Response:
    with site.ports.database.read() as tx:
        order = orders.show(tx, order_id)
        history = audit.of_subject(tx, f"order:{order_id}")
    acts = [event for event in history if not event.action.endswith(".view")]
    return render(
        site,
        visit,
        "conflict.html",
        status=409,
        row=row_of(site.ports, order, (), ()),
        last=acts[-1] if acts else None,
        text=str(conflict),
        back=back,
    )


def _version(visit: Visit) -> int | None:
    text = visit.form.get("version", "")
    if text and not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise Invalid("version: not a number")
    return int(text) if text else None


def _detail(site: Site, visit: Visit, order_id: OrderId) -> Detail:
    with site.ports.database.read() as tx:
        since = changes.latest(tx)
        order = orders.show(tx, order_id)
        provenance = orders.provenance(tx, order_id)
        found = studies.of_orders(tx, [order_id])
        deliveries = outbox.of_orders(tx, [order_id])
        history = audit.of_subject(tx, f"order:{order_id}")
        namesake = has_namesake(tx, site.ports, order)
        sightings = receipts.of_orders(tx, [order_id]).get(order_id, ())
        exams = performed.of_orders(tx, [order_id])
    sees_views = visit.person.may(Permission.VIEW_AUDIT)
    found_trace = _trace(site, visit, order, provenance)
    return Detail(
        since=since,
        row=row_of(site.ports, order, found, deliveries, namesake, sightings),
        attributes=_attributes(order, provenance, found_trace),
        history=tuple(e for e in history if sees_views or not e.action.endswith(".view")),
        deliveries=deliveries,
        can_cancel=is_allowed(order.state, Step.CANCEL),
        machines=() if order.state in FINAL else explain_all(site.ports, order_id),
        exams=exams,
        trace=found_trace,
    )


def _trace(site: Site, visit: Visit, order: Order, provenance: tuple[Provenance, ...]) -> Trace | None:
    """The message that the order was last made of; None when it cannot be read, or the visitor may not."""
    if site.read is None or not visit.person.may(Permission.VIEW_MESSAGES):
        return None
    with site.ports.database.read() as tx:
        message = inbox.show(tx, order.message_id)
    try:
        return trace(site.read(message), provenance)
    except Malformed:
        return None


def _attributes(
    order: Order, provenance: tuple[Provenance, ...], found: Trace | None
) -> tuple[Attribute, ...]:
    """What was decided or deleted, then the attributes, each sequence with the parts of its items below it."""
    known = {entry.keyword: entry for entry in provenance}
    anchors = _anchors(found) if found else {}
    values = {e.keyword: e.value for e in provenance if _top(e.keyword) not in order.attributes}
    for top, value in order.attributes.items():
        values[top] = _text(value)
        values |= {e.keyword: e.value for e in provenance if e.keyword != top and _top(e.keyword) == top}
    return tuple(
        Attribute(
            keyword=keyword, value=value, provenance=known.get(keyword), anchor=anchors.get(keyword, "")
        )
        for keyword, value in values.items()
    )


def _top(keyword: str) -> str:
    """The attribute that a part of an item belongs to: `Sequence` of `Sequence[1].PatientID`."""
    return keyword.partition("[")[0]


def _anchors(found: Trace) -> dict[str, str]:
    """Keyword -> the id of the first piece of the message it was made of, as the page writes it."""
    anchors: dict[str, str] = {}
    for line in found.lines:
        for number, piece in enumerate(line.pieces, start=1):
            for use in piece.uses:
                anchors.setdefault(found.entries[use].keyword, f"at-{line.number}-{number}")
    return anchors


def _text(value: Value) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
