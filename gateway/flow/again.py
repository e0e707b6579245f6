"""Again: the orders that an earlier run of a message made, so that a later run changes them and doubles none."""

from collections.abc import Mapping, Sequence

from gateway.flow.occasion import Occasion, is_same, known_orders
from gateway.model.ids import MessageId
from gateway.model.lifecycle import FINAL, State
from gateway.model.order import Action, Order, OrderRequest
from gateway.store import audit, inbox, orders
from gateway.store.database import Tx

_MAKING = frozenset({Action.SCHEDULE, Action.UPDATE, Action.HOLD})
_WAITING = frozenset({State.HELD, State.SCHEDULED})


def made_by(tx: Tx, message_id: MessageId | None) -> tuple[Order, ...]:
    """The open orders that the message, or one that it is an edited copy of, made and no other changed since."""
    runs = _runs(tx, message_id)
    return tuple(
        order
        for run in runs
        for order in orders.of_message(tx, run)
        if order.state not in FINAL and _origin(tx, order) in {f"message:{one}" for one in runs}
    )


def paired(occasion: Occasion, wanted: Sequence[OrderRequest]) -> Mapping[int, tuple[Order, ...]]:
    """The place of each request that no number leads to an order -> the order that the earlier run made for it.

    An order of the earlier run that nothing in the message is for any longer is a doubt.
    """
    if not occasion.own:
        return {}
    known = {place: known_orders(occasion, request) for place, request in enumerate(wanted)}
    named = {order.id for found in known.values() for order in found}
    left = [order for order in occasion.own if order.id not in named]
    places = [place for place, found in known.items() if not found and wanted[place].action in _MAKING]
    pairs: dict[int, tuple[Order, ...]] = {}
    for place in places:
        fits = (
            left if len(left) == len(places) - len(pairs) else [o for o in left if is_same(o, wanted[place])]
        )
        if fits:
            pairs[place] = (fits[0],)
            left.remove(fits[0])
    occasion.doubts.extend(
        f"order {order.id} was made of this message, and nothing in it is for that order now"
        for order in left
        if order.state in _WAITING
    )
    return pairs


def _runs(tx: Tx, message_id: MessageId | None) -> list[MessageId]:
    """The message and those it is an edited copy of."""
    runs: list[MessageId] = []
    while message_id is not None:
        runs.append(message_id)
        message_id = inbox.show(tx, message_id).edited_from
    return runs


def _origin(tx: Tx, order: Order) -> str:
    """What the audit trail names as the ground on which the order was made."""
    trail = audit.of_subject(tx, f"order:{order.id}")
    return trail[0].detail if trail else ""
