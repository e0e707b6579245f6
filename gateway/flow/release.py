"""Release: the receptionist's toggle. An order is sent to a machine's worklist, recalled from it, or cancelled."""

from dataclasses import replace
from datetime import datetime

from gateway.flow import step
from gateway.flow.ports import Ports
from gateway.model.errors import Conflict, Invalid, NotFound
from gateway.model.ids import OrderId
from gateway.model.lifecycle import Step
from gateway.model.order import Order
from gateway.model.station import Station
from gateway.store import orders
from gateway.store.database import Tx


def send(
    ports: Ports, order_id: OrderId, *, actor: str, station: str | None = None, version: int | None = None
) -> Order:
    """The order, now on the worklist of `station` (an AE title; None: the only one it can be).

    `version` is that of the order the person saw; None skips that check.
    Raises NotFound for an unknown order or station, Invalid when a station must be chosen, Conflict when the order
    cannot be sent or was changed meanwhile.
    """
    with ports.database.write() as tx:
        order = _seen(tx, order_id, version)
        at = ports.clock()
        ready = replace(order, station=_chosen(ports, order, station), sent_at=at, sent_by=actor)
        return step.take(
            tx,
            ready,
            Step.SEND,
            actor=actor,
            evidence=f"station:{ready.station or 'any'}",
            at=at,
            ports=ports,
            local=sent_day(ports, order, at),
        )


def recall(ports: Ports, order_id: OrderId, *, actor: str, version: int | None = None) -> Order:
    """The order, off every worklist again. Raises NotFound, Conflict."""
    return _take(ports, order_id, Step.RECALL, actor, version)


def cancel(ports: Ports, order_id: OrderId, *, actor: str, version: int | None = None) -> Order:
    """The order, cancelled. Raises NotFound, Conflict."""
    return _take(ports, order_id, Step.CANCEL, actor, version)


def sent_day(ports: Ports, order: Order, at: datetime) -> tuple[str, str] | None:
    """The day a dayless order is found under once it is sent: that of sending. None when it has its own."""
    return (f"{at.astimezone(ports.zone):%Y%m%d}", "") if order.start is None else None


def fitting(ports: Ports, order: Order) -> tuple[Station, ...]:
    """The stations an order can go to: those of its modality and those for every modality; all when none fits."""
    able = tuple(s for s in ports.stations if s.modality in ("", order.modality))
    return able or ports.stations


def only_station(ports: Ports, order: Order) -> str | None:
    """The AE title the order goes to when nobody chooses; "" for any machine, None when somebody must choose.

    A machine the sender named counts only when it is a configured one, or none is.
    """
    if not ports.stations or order.station in {station.ae_title for station in ports.stations}:
        return order.station
    able = fitting(ports, order)
    return able[0].ae_title if len(able) == 1 else None


def _take(ports: Ports, order_id: OrderId, wanted: Step, actor: str, version: int | None) -> Order:
    with ports.database.write() as tx:
        order = _seen(tx, order_id, version)
        local = ("", "") if order.start is None and wanted is Step.RECALL else None
        at = ports.clock()
        return step.take(tx, order, wanted, actor=actor, evidence="by hand", at=at, ports=ports, local=local)


def _seen(tx: Tx, order_id: OrderId, version: int | None) -> Order:
    order = orders.show(tx, order_id)
    if version is not None and order.version != version:
        raise Conflict(f"order {order_id} was changed by someone else in the meantime: look at it again")
    return order


def _chosen(ports: Ports, order: Order, asked: str | None) -> str:
    if asked:
        if asked not in {station.ae_title for station in ports.stations}:
            raise NotFound(f"station: no machine with the AE title '{asked}' is configured")
        return asked
    only = only_station(ports, order)
    if only is None:
        names = ", ".join(station.ae_title for station in fitting(ports, order))
        raise Invalid(f"station: several machines fit, choose one of {names}")
    return only
