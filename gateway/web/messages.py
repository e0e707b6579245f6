"""The inbox: what came, what became of it, and the bytes themselves."""

from starlette.responses import Response

from gateway.model.errors import Invalid
from gateway.model.ids import MessageId
from gateway.model.message import MessageState, Protocol
from gateway.store import changes, inbox, orders
from gateway.web.orders import record_view
from gateway.web.site import Site, Visit, render

PAGE = 100


def listing(site: Site, visit: Visit) -> Response:
    """The newest messages; `?state=` filters, `?before=` pages on. Raises Invalid."""
    state, before = _state(visit), _before(visit)
    with site.ports.database.read() as tx:
        since = changes.latest(tx)
        found = inbox.newest(tx, state=state, before=before, limit=PAGE + 1)
    return render(
        site,
        visit,
        "messages.html",
        since=since,
        messages=found[:PAGE],
        older=found[PAGE - 1].id if len(found) > PAGE else None,
        state=state,
        states=tuple(MessageState),
    )


def show(site: Site, visit: Visit) -> Response:
    """One message, raw, and our answer. That somebody opened it is recorded. Raises NotFound."""
    message_id = MessageId(visit.number("id"))
    with site.ports.database.read() as tx:
        message = inbox.show(tx, message_id)
        made = orders.of_message(tx, message_id)
    record_view(site, visit, "message", message_id)
    return render(
        site,
        visit,
        "message.html",
        message=message,
        orders=made,
        lines=_lines(message.raw, message.protocol),
        answer=_lines(message.answer, message.protocol),
    )


def _lines(raw: bytes, protocol: Protocol) -> list[str]:
    """The message's lines, one a segment. Bytes that are no UTF-8 are shown as Latin-1: nothing is hidden."""
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    if protocol is Protocol.HL7V2:
        text = text.replace("\r\n", "\r").replace("\n", "\r")
        return [line for line in text.split("\r") if line]
    return text.splitlines()


def _state(visit: Visit) -> MessageState | None:
    text = visit.query.get("state", "")
    try:
        return MessageState(text) if text else None
    except ValueError:
        raise Invalid("state: there is no such state") from None


def _before(visit: Visit) -> MessageId | None:
    text = visit.query.get("before", "")
    if text and not (text.isascii() and text.isdecimal() and len(text) < 19):
        raise Invalid("before: not a number")
    return MessageId(int(text)) if text else None
