"""What the page says after an action: read from a short code, drawn from what is true now."""

from dataclasses import dataclass

from gateway.model.errors import GatewayError
from gateway.model.ids import OrderId
from gateway.model.lifecycle import State
from gateway.model.order import Order
from gateway.store import orders
from gateway.web.site import Site, Visit
from gateway.web.wording import person_words, station_name


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """A sentence, and the order that can be recalled from where it went (None when nothing can be undone)."""

    text: str
    undo: Order | None = None


_PLAIN = {
    "completed": "The study is complete. Whoever waits for it is being told.",
    "activated": "The changed mappings are in use.",
    "replayed": "The message was tried again with the mappings in use now.",
    "edited": "The edited copy was tried; the message it was made of is kept as it came.",
    "discarded": "The message was put away.",
    "unmerged": "The merge is undone. What it moved is back under the old patient ID.",
    "retried": "The delivery is on its way again.",
}


def notice_of(site: Site, visit: Visit) -> Notice | None:
    """What the last action did, None when there is nothing to say."""
    what, _, number = visit.said.partition(".")
    if visit.is_fragment or not number.isascii() or not number.isdecimal() or len(number) > 18:
        return None
    if what in _PLAIN:
        return Notice(text=_PLAIN[what])
    try:
        with site.ports.database.read() as tx:
            order = orders.show(tx, OrderId(int(number)))
    except GatewayError:
        return None
    return _of_order(site, what, order)


def _of_order(site: Site, what: str, order: Order) -> Notice | None:
    name = person_words(order.patient.name)
    match what, order.state:
        case "sent", State.SENT:
            where = station_name(site.ports.stations, order.station) or "every machine's list"
            return Notice(text=f"{name} is now on {where}.", undo=order)
        case "recalled", State.SCHEDULED:
            return Notice(text=f"{name} was taken off the machine's list.")
        case "cancelled", State.CANCELLED:
            return Notice(text=f"The order of {name} is cancelled.")
    return None
