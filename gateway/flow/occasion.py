"""What all requests of one message share, and the orders they mean. Part of the receiving transaction."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime

from gateway.flow import step
from gateway.flow.order_of_news import STALE, Sent, sent_exactly
from gateway.flow.ports import Ports, Release
from gateway.flow.release import only_station, sent_day
from gateway.model.ids import MergeId, MessageId, OrderId
from gateway.model.lifecycle import State, Step
from gateway.model.order import Action, Attributes, Order, OrderRequest
from gateway.model.resource import Held, is_older
from gateway.store import inbox, orders, resources
from gateway.store.database import Tx


@dataclass(frozen=True, slots=True, kw_only=True)
class Occasion:
    """The circumstances of one message, and what is noted on the way."""

    tx: Tx
    ports: Ports
    source: str
    message_id: MessageId
    actor: str
    at: datetime
    sent: Sent | None = None  # when the message was sent, by its sender's clock; None: not known
    doubts: list[str] = field(default_factory=list)  # what a person must look at
    passed: list[str] = field(default_factory=list)  # what was passed over, and why
    merges: list[MergeId] = field(default_factory=list)  # those carried out
    own: tuple[Order, ...] = ()  # the orders that an earlier run of the same message made

    @property
    def evidence(self) -> str:
        """What the audit trail names as the ground of a change."""
        return f"message:{self.message_id}"

    def sent_of(self, request: OrderRequest) -> Sent | None:
        """When what the request says of the patient was sent.

        None for FHIR: an order's own date says nothing of a patient who is read when the order comes.
        """
        return None if request.service_request or request.subject else self.sent

    def of(self, request: OrderRequest) -> "Occasion":
        """The occasion as the request has it: what was sent is as old as the resource, not as the Bundle around it.

        A Task and an Appointment have a history of their own; their age says nothing of the ServiceRequest's.
        """
        if not request.address:
            return self
        if not request.address.startswith("ServiceRequest/"):
            return replace(self, sent=None)
        return replace(self, sent=sent_exactly(request.changed_at, self.at)) if request.changed_at else self

    def is_overtaken(self, request: OrderRequest) -> bool:
        """Whether a newer version of the same resource, or its end, came before this message did.

        Source: FHIR R4 http.html: notifications may come in any order.
        """
        kind, _, own_id = request.address.partition("/")
        held = resources.of(self.tx, self.source, kind, own_id) if own_id else None
        if held is None or held.at >= self.at:
            return False
        ours = Held(
            source=self.source, type=kind, id=own_id, version=request.version, last_updated=request.changed_at,
            body=b"", at=self.at,
        )  # fmt: skip
        if not (held.is_deleted or is_older(ours, held)):
            return False
        if held.at >= inbox.show(self.tx, self.message_id).received_at:
            return False  # it waited, and the newer one behind it
        self.passed.append(STALE)
        return True

    def is_late(self, order: Order) -> bool:
        """Whether the message is older than what is stored of the order: then that is recorded, and all of it."""
        if self.sent is None or not self.sent.is_older(order.told_at):
            return False
        self.passed.append(STALE)
        step.record(self.tx, order, "order.late", self.actor, f"not applied: {self.evidence}", self.at)
        return True


def known_orders(
    occasion: Occasion, request: OrderRequest, touched: Iterable[OrderId] = ()
) -> tuple[Order, ...]:
    """The orders that the request means, oldest first, without those in `touched`; see `named_orders` and `meant`."""
    return meant(named_orders(occasion, request), request, touched)


def named_orders(occasion: Occasion, request: OrderRequest) -> tuple[Order, ...]:
    """The orders that carry a number of the request's, oldest first.

    The numbers are the sender's filler, placer and accession number; where the request has none of them, or the order
    had none yet, its ServiceRequest.
    """
    filler, placer, accession = numbers(request)
    if filler or placer or accession:
        found = orders.known_as(
            occasion.tx,
            occasion.source,
            filler=filler,
            placer=placer,
            accession=accession,
            will_change=True,
        )
        return found or tuple(it for it in _of_request(occasion, request) if not _has_number(it))
    return _of_request(occasion, request)


def meant(
    named: Iterable[Order], request: OrderRequest, touched: Iterable[OrderId] = ()
) -> tuple[Order, ...]:
    """Those of `named_orders` that the request means, by step id and accession number too; without those in `touched`.

    Orders that share a placer number are told apart by their accession numbers. Only a change, and of one order alone,
    may bring another one: that is a number mended.
    """
    without = frozenset(touched)
    found = tuple(order for order in named if order.id not in without and is_same(order, request))
    accession = _own_accession(request.text("AccessionNumber"), *numbers(request)[:2])
    exact = tuple(order for order in found if accession and order.accession == accession)
    if exact or (request.action is Action.UPDATE and len(found) == 1):
        return exact or found
    return tuple(order for order in found if not _has_other_accession(order, request, accession))


def _own_accession(accession: str, *order_numbers: str) -> str:
    """The accession number; "" where an order number only stands in for it."""
    return "" if accession in order_numbers else accession


def _has_other_accession(order: Order, request: OrderRequest, accession: str) -> bool:
    filler, _, _ = numbers(request)
    if (filler and order.filler == filler) or (
        request.service_request and order.service_request == request.service_request
    ):
        return False  # it is this very order, whatever its accession number is now
    ours = _own_accession(order.accession, order.filler, order.placer)
    return bool(ours and accession and ours != accession)


def _of_request(occasion: Occasion, request: OrderRequest) -> tuple[Order, ...]:
    return orders.of_request(occasion.tx, occasion.source, request.service_request, will_change=True)


def _has_number(order: Order) -> bool:
    return bool(order.filler or order.placer or order.accession)


def numbers(request: OrderRequest) -> tuple[str, str, str]:
    """The sender's filler, placer and accession number; empty where the request has none."""
    return (
        request.text("FillerOrderNumberImagingServiceRequest"),
        request.text("PlacerOrderNumberImagingServiceRequest"),
        request.text("AccessionNumber"),
    )


def names_order(request: OrderRequest) -> bool:
    """Whether the request says which order it means."""
    return any(numbers(request)) or bool(request.service_request)


def released(occasion: Occasion, order: Order, when: Release = Release.ON_RECEIPT) -> Order:
    """The order sent to its machine at once, where the site wants that and the machine is beyond doubt.

    `when` is what just happened: only a site that releases then sends it now.
    """
    if occasion.ports.release is not when or order.state is not State.SCHEDULED:
        return order
    station = only_station(occasion.ports, order)
    if station is None:
        return order
    ready = replace(order, station=station, sent_at=occasion.at, sent_by=occasion.actor)
    return step.take(
        occasion.tx,
        ready,
        Step.SEND,
        actor=occasion.actor,
        evidence=occasion.evidence,
        at=occasion.at,
        ports=occasion.ports,
        local=sent_day(occasion.ports, order, occasion.at),
    )


def text_of(attributes: Attributes, keyword: str) -> str:
    """The text of an attribute; empty when absent or a sequence."""
    value = attributes.get(keyword, "")
    return value if isinstance(value, str) else ""


def names_step(request: OrderRequest) -> bool:
    """Whether the request says which step of its order it means; the order's own number does not."""
    step_id = request.text("ScheduledProcedureStepID")
    return bool(step_id) and step_id not in numbers(request)


def is_same(order: Order, request: OrderRequest) -> bool:
    """Whether no number that both carry contradicts.

    A step id of our own making, or one that only repeats the order's number, contradicts nothing.
    """
    filler, placer, _ = numbers(request)
    own_step = "" if order.step_id in (f"SPS{order.id}", order.placer, order.filler) else order.step_id
    their_step = request.text("ScheduledProcedureStepID") if names_step(request) else ""
    pairs = (
        (order.filler, filler),
        (order.placer, placer),
        (own_step, their_step),
    )
    return all(not ours or not theirs or ours == theirs for ours, theirs in pairs)
