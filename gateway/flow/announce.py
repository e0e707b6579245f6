"""Announce: the news of a change is owed to those who want it. Part of the transaction of the change."""

import re
from datetime import datetime

from gateway.flow.ports import Ports
from gateway.model.delivery import Around, Change
from gateway.model.ids import MessageId
from gateway.model.lifecycle import State
from gateway.model.message import Message
from gateway.model.order import Order
from gateway.model.study import Study
from gateway.store import audit, inbox, outbox, studies
from gateway.store import orders as stored_orders
from gateway.store.database import Tx

_MESSAGE = re.compile(r"message:(\d+)")


def announce(
    tx: Tx,
    ports: Ports,
    order: Order,
    action: str,
    evidence: str,
    at: datetime,
    *,
    study: Study | None = None,
    orders: tuple[Order, ...] = (),
) -> None:
    """What other systems want to hear of the action stands in the outbox. `study` is complete, and is for `orders`."""
    change = Change(
        order=order,
        action=action,
        evidence=evidence,
        at=at,
        messages=lambda: _messages(tx, orders or (order,)),
        study=study,
        orders=orders,
        around=lambda: _around(tx, order),
    )
    _owe(tx, ports, change)


def withdraw(tx: Tx, ports: Ports, order: Order, evidence: str, at: datetime) -> None:
    """Who was told of a study under the order's UID hears that none will come under it: it has another one."""
    sisters = tuple(one for one in stored_orders.of_study(tx, order.study_uid) if one.id != order.id)
    around = Around(
        study=studies.of_uid(tx, order.study_uid), orders=sisters, told=outbox.told(tx, order.study_uid)
    )
    change = Change(
        order=order,
        action="study.withdraw",
        evidence=evidence,
        at=at,
        messages=lambda: _messages(tx, (order,)),
        around=lambda: around,
    )
    _owe(tx, ports, change)


def renamed(tx: Tx, ports: Ports, before: Order, now: Order, evidence: str, at: datetime) -> None:
    """The order has another Study Instance UID: none will come under the old one, one is expected under the new one."""
    withdraw(tx, ports, before, evidence, at)
    if now.state is State.SENT:
        announce(tx, ports, now, "study.expect", evidence, at)


def _owe(tx: Tx, ports: Ports, change: Change) -> None:
    for outgoing in ports.announce(change):
        outbox.add(tx, outgoing, change.at)


def _around(tx: Tx, order: Order) -> Around:
    """The order's study, by its link or by its UID, and the orders it is for."""
    linked = next(iter(studies.of_orders(tx, [order.id])), None)
    sisters = stored_orders.of_study(tx, order.study_uid)
    study = linked or next(iter(studies.of_orders(tx, [one.id for one in sisters])), None)
    uid = study.study_uid if study is not None else order.study_uid
    return Around(
        study=study or studies.of_uid(tx, order.study_uid), orders=sisters, told=outbox.told(tx, uid)
    )


def _messages(tx: Tx, about: tuple[Order, ...]) -> tuple[Message, ...]:
    """The messages that made and changed the orders, newest first."""
    numbers: set[int] = set()
    for order in about:
        events = audit.of_subject(tx, f"order:{order.id}")
        named = (int(found[1]) for event in events if (found := _MESSAGE.match(event.detail)))
        numbers |= {order.message_id, *named}
    return tuple(inbox.show(tx, MessageId(number)) for number in sorted(numbers, reverse=True))
