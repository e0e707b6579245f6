"""What is owed to other systems, and the button that tries again."""

from starlette.responses import Response

from gateway.flow.deliver import retry
from gateway.model.delivery import DeliveryState
from gateway.model.errors import Invalid
from gateway.model.ids import DeliveryId
from gateway.store import changes, outbox
from gateway.web.notice import notice_of
from gateway.web.site import Site, Visit, go_saying, render


def listing(site: Site, visit: Visit) -> Response:
    """The newest deliveries; `?state=` filters. Raises Invalid."""
    text = visit.query.get("state", "")
    try:
        state = DeliveryState(text) if text else None
    except ValueError:
        raise Invalid("state: there is no such state") from None
    with site.ports.database.read() as tx:
        since = changes.latest(tx)
        found = outbox.newest(tx, state=state)
    return render(
        site,
        visit,
        "deliveries.html",
        since=since,
        deliveries=found,
        state=state,
        states=tuple(DeliveryState),
        notice=notice_of(site, visit),
    )


def again(site: Site, visit: Visit) -> Response:
    """The delivery is due now. Raises NotFound."""
    delivery_id = DeliveryId(visit.number("id"))
    retry(site.ports, delivery_id, actor=visit.actor)
    return go_saying(site, visit.back("/deliveries"), f"retried.{delivery_id}")
