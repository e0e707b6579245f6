"""Whether we hear everything of a record system: what its notifications say of themselves."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What a subscription notification says of itself.

    Source: FHIR R5 SubscriptionStatus; Subscriptions R5 Backport for R4.
    """

    kind: str  # "handshake", "heartbeat", "event-notification", "query-status", "query-event"
    subscription: str = ""  # "Subscription/5" or a URL; "" when it does not say
    since_start: int | None = None  # events since the subscription began
    numbers: tuple[int, ...] = ()  # of the events in it
    sent_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Following:
    """How far one source is followed."""

    source: str
    cursor: datetime | None = None  # every change before it was read, or is too old; None: nobody looked yet
    polled_at: datetime | None = None  # when the last poll ended well; None: none did
    poll_error: str = ""  # what stood against the last poll
    heard_at: datetime | None = None  # when the newest notification or heartbeat came; None: none did
