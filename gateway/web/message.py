"""One message: the bytes themselves, why it waits, and what a person does with it."""

from starlette.responses import Response

from gateway.flow.replay import EDITED, PUT_AWAY, TRIED, Rework, discard, replay, retry_edited
from gateway.mapping.explain import Explanation, explain
from gateway.model.errors import Conflict, Malformed, NotFound
from gateway.model.ids import MessageId
from gateway.model.lifecycle import State
from gateway.model.message import Message, Protocol
from gateway.model.user import Permission
from gateway.store import audit, changes, inbox, orders
from gateway.web.notice import notice_of
from gateway.web.orders import record_view
from gateway.web.site import Site, Visit, go_saying, render

MAX_TEXT = 40_000
"""The longest text, in bytes, that a form of ours takes; longer messages are edited on the command line."""


def show(site: Site, visit: Visit) -> Response:
    """One message, raw, and our answer. That somebody opened it is recorded. Raises NotFound."""
    message_id = MessageId(visit.number("id"))
    with site.ports.database.read() as tx:
        since = changes.latest(tx)
        message = inbox.show(tx, message_id)
        made = orders.of_message(tx, message_id)
        copies = inbox.copies(tx, message_id)
        history = audit.of_subject(tx, f"message:{message_id}")
    if not visit.is_fragment:
        record_view(site, visit, "message", message_id)
    may = site.rework is not None and visit.person.may(Permission.RETRY)
    return render(
        site,
        visit,
        "message.html",
        since=since,
        message=message,
        orders=made,
        held=[order for order in made if order.state is State.HELD],
        copies=copies,
        history=[e for e in history if visit.person.may(Permission.VIEW_AUDIT) or e.action != "message.view"],
        lines=_lines(message.raw, message.protocol, _text(site, message)),
        answer=_lines(message.answer, message.protocol),
        explained=_explained(site, message),
        can_retry=may and message.state in TRIED,
        can_edit=may and message.state in EDITED,
        can_discard=may and message.state in PUT_AWAY,
        notice=notice_of(site, visit),
    )


def retry(site: Site, visit: Visit) -> Response:
    """The message has the verdict of the mappings in use now. Raises NotFound, Conflict."""
    message_id = MessageId(visit.number("id"))
    replay(site.ports, message_id, _rework(site), actor=visit.actor)
    return go_saying(site, f"/messages/{message_id}", f"replayed.{message_id}")


def edit(site: Site, visit: Visit) -> Response:
    """The form with the message's text. That somebody opened it is recorded. Raises NotFound, Conflict."""
    message_id = MessageId(visit.number("id"))
    with site.ports.database.read() as tx:
        message = inbox.show(tx, message_id)
    if message.state not in EDITED:
        raise Conflict(f"message {message_id} is {message.state}: it cannot be edited")
    text = _rework(site).text(message)
    if len(text.encode()) > MAX_TEXT:
        raise Conflict(f"message {message_id} is too long for this page: use gateway messages edit")
    record_view(site, visit, "message", message_id)
    rows = min(max(text.count("\n") + 2, 8), 30)
    return render(site, visit, "message_edit.html", message=message, text=text, rows=rows)


def retry_copy(site: Site, visit: Visit) -> Response:
    """The edited copy is mapped and shown. Raises NotFound, Conflict, Invalid."""
    copy_id = retry_edited(
        site.ports,
        MessageId(visit.number("id")),
        visit.form.get("text", ""),
        _rework(site),
        reason=visit.form.get("reason", ""),
        actor=visit.actor,
    )
    return go_saying(site, f"/messages/{copy_id}", f"edited.{copy_id}")


def put_away(site: Site, visit: Visit) -> Response:
    """The message waits for nobody any longer. Raises NotFound, Conflict, Invalid."""
    message_id = MessageId(visit.number("id"))
    discard(site.ports, message_id, reason=visit.form.get("reason", ""), actor=visit.actor)
    return go_saying(site, f"/messages/{message_id}", f"discarded.{message_id}")


def _rework(site: Site) -> Rework:
    if site.rework is None:
        raise NotFound("this gateway maps nothing")
    return site.rework


def _explained(site: Site, message: Message) -> Explanation | None:
    """What the mappings in use now make of a message that waits; None when it cannot be read or does not wait."""
    if message.state not in PUT_AWAY or site.mappings is None or site.read is None:
        return None
    try:
        return explain(site.mappings.active, site.read(message))
    except Malformed:
        return None


def _text(site: Site, message: Message) -> str:
    return site.rework.text(message) if site.rework else ""


def _lines(raw: bytes, protocol: Protocol, text: str = "") -> list[str]:
    """The message's lines, one a segment. Bytes that are no UTF-8 are shown as Latin-1: nothing is hidden.

    `text` is the message as its sender's character set says; "" when that is not known.
    """
    try:
        text = text or raw.decode()
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    if protocol is Protocol.HL7V2:
        text = text.replace("\r\n", "\r").replace("\n", "\r")
        return [line for line in text.split("\r") if line]
    return text.splitlines()
