"""A subscription notification: what it says of its subscription, and which resources it names.

Its status is a SubscriptionStatus (R4B, R5) or Parameters (R4, by the Subscriptions Backport), whose names are
written with hyphens by some and in camel case by others.
Source: FHIR R5 subscriptionstatus.html; http://hl7.org/fhir/uv/subscriptions-backport.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gateway.fhir.classify import entries_of, resource_of, text_at
from gateway.mapping.fhir_paths import Resource
from gateway.model.following import Heard

EVENTS = frozenset({"event-notification", "query-event"})

_HYPHEN = re.compile(r"-([a-z])")
_MOST_EVENTS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """What a notification is about."""

    heard: Heard
    event: str  # what its sender calls this one event for good; "" when it has no such name
    focuses: tuple[Mapping[str, Any], ...]  # the Reference elements of the events, each as it stands
    is_bare: bool  # an event that names nothing: only a look at everything can tell

    @property
    def is_of_events(self) -> bool:
        """Whether something happened, and this is no handshake, heartbeat or answer about the subscription."""
        return self.heard.kind in EVENTS


def notice_in(bundle: Resource) -> Notice | None:
    """What the Bundle notifies of; None when it is no notification."""
    first = next(entries_of(bundle), None)
    status = _status(resource_of(first) if first is not None else None)
    if status is None:
        return None
    events = [event for event in _several(status, "notificationEvent") if isinstance(event, dict)]
    events = events[:_MOST_EVENTS]
    focuses = tuple(focus for event in events if (focus := _reference(event.get("focus"))))
    heard = _heard(status, events, bundle)
    return Notice(
        heard=heard,
        event=_event(heard, events),
        focuses=focuses,
        is_bare=len(focuses) < len(events) or (heard.kind in EVENTS and not events),
    )


def _status(resource: Resource | None) -> dict[str, Any] | None:
    """The status as SubscriptionStatus has it, whichever form it came in; None for another resource."""
    kind = text_at(resource, "resourceType") if resource is not None else ""
    if kind == "SubscriptionStatus":
        return dict(resource or {})
    if kind != "Parameters":
        return None
    status = _plain(resource or {}, "parameter")
    return status if "subscription" in status else None


def _plain(holder: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Parameters as an object: those with parts, and each repeated one, as a list."""
    found: dict[str, Any] = {}
    for one in _several(holder, name):
        key = (
            _HYPHEN.sub(lambda match: match[1].upper(), text_at(one, "name")) if isinstance(one, dict) else ""
        )
        if not key:
            continue
        if "part" in one:
            found.setdefault(key, []).append(_plain(one, "part"))
        else:
            found.setdefault(key, next((v for k, v in one.items() if k.startswith("value")), None))
    return found


def _heard(status: Mapping[str, Any], events: list[dict[str, Any]], bundle: Resource) -> Heard:
    kind = text_at(status, "type") or ("event-notification" if events else "heartbeat")
    subscription = _reference(status.get("subscription"))
    stamps = [text_at(event, "timestamp") for event in events]
    return Heard(
        kind=kind,
        subscription=text_at(subscription, "reference"),
        since_start=_number(status.get("eventsSinceSubscriptionStart")),
        numbers=tuple(n for event in events if (n := _number(event.get("eventNumber"))) is not None),
        sent_at=_instant(next((stamp for stamp in stamps if stamp), "") or text_at(bundle, "timestamp")),
    )


def _event(heard: Heard, events: list[dict[str, Any]]) -> str:
    """A name that no other event has: its id, else its subscription with its number and moment.

    Numbers alone begin again with every subscription, and with every Bundle of senders that count so.
    """
    if len(events) != 1:
        return ""
    own = text_at(events[0], "id")
    if own:
        return own
    stamp = text_at(events[0], "timestamp")
    if not (heard.subscription and heard.numbers and stamp):
        return ""
    return f"{heard.subscription}#{heard.numbers[0]}@{stamp}"


def _several(holder: Mapping[str, Any], name: str) -> Iterator[Any]:
    found = holder.get(name)
    yield from found if isinstance(found, list) else ()


def _reference(value: object) -> Mapping[str, Any]:
    """A Reference element; senders write an address in its place. Empty for anything else."""
    if isinstance(value, str):
        return {"reference": value}
    return value if isinstance(value, dict) else {}


def _number(value: object) -> int | None:
    """R5 writes integer64 as text. None for what counts nothing."""
    text = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


def _instant(text: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo is not None else None
