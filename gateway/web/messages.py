"""The inbox: what came, what became of it, and the search in it. What is searched for stands in no address."""

from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from starlette.responses import Response

from gateway.model.errors import Invalid
from gateway.model.ids import MessageId
from gateway.model.message import Message, MessageState
from gateway.store import changes, inbox, search
from gateway.store.search import Wanted
from gateway.web.notice import notice_of
from gateway.web.site import Site, Visit, render

PAGE = 100
QUEUES = (MessageState.HELD, MessageState.FAILED)
"""What waits for a person."""

_FIELDS = ("term", "type", "source", "sender", "first", "last")


def listing(site: Site, visit: Visit) -> Response:
    """The newest messages; `?state=` filters, `?before=` pages on. Raises Invalid."""
    state, before = _state(visit.query.get("state", "")), _before(visit.query.get("before", ""))
    return _listed(site, visit, Wanted(state=state), before)


def find(site: Site, visit: Visit) -> Response:
    """The messages the form asks for; it comes by POST, so that no patient stands in an address. Raises Invalid."""
    form = visit.form
    wanted = Wanted(
        term=form.get("term", ""),
        state=_state(form.get("state", "")),
        message_type=form.get("type", "").strip(),
        source=form.get("source", "").strip(),
        sender=form.get("sender", "").strip(),
        since=_midnight(form.get("first", ""), "first", site.ports.zone),
        until=_midnight(form.get("last", ""), "last", site.ports.zone, days=1),
    )
    return _listed(site, visit, wanted, _before(form.get("before", "")), is_search=True)


def _listed(
    site: Site, visit: Visit, wanted: Wanted, before: MessageId | None, *, is_search: bool = False
) -> Response:
    with site.ports.database.read() as tx:
        since = changes.latest(tx)
        found = search.find(tx, wanted, before=before, limit=PAGE + 1)
        counts = {state: inbox.count(tx, state) for state in QUEUES}
    live = {} if is_search else {"since": since}  # a page that is loaded anew would forget what was asked
    return render(
        site,
        visit,
        "messages.html",
        messages=found[:PAGE],
        older=found[PAGE - 1].id if len(found) > PAGE else None,
        state=wanted.state,
        states=tuple(MessageState),
        counts=counts,
        asked={name: visit.form.get(name, "") for name in _FIELDS},
        is_search=is_search,
        choices=_choices(found),
        notice=notice_of(site, visit),
        **live,
    )


def _choices(found: tuple[Message, ...]) -> dict[str, list[str]]:
    """What the fields of the form offer: what the messages shown have."""
    return {
        "type": sorted({message.keys.message_type for message in found} - {""}),
        "source": sorted({message.source for message in found} - {""}),
        "sender": sorted({message.keys.sender for message in found} - {""}),
    }


def _state(text: str) -> MessageState | None:
    try:
        return MessageState(text) if text else None
    except ValueError:
        raise Invalid("state: there is no such state") from None


def _before(text: str) -> MessageId | None:
    if text and not (text.isascii() and text.isdecimal() and len(text) < 19):
        raise Invalid("before: not a number")
    return MessageId(int(text)) if text else None


def _midnight(text: str, field: str, zone: ZoneInfo, days: int = 0) -> datetime | None:
    """The beginning of that day of the site, or of one `days` later; None for an empty field."""
    if not text:
        return None
    try:
        day = date.fromisoformat(text) + timedelta(days=days)
    except (ValueError, OverflowError):
        raise Invalid(f"{field}: not a day such as 2026-11-23") from None
    return datetime.combine(day, time(), zone)
