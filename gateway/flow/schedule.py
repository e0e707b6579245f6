"""When an order starts: the mapping's ISO text as an instant and as the site's clock shows it."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from zoneinfo import ZoneInfo

from gateway.model.order import Attributes


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """A start. `local` is its day and time on the site's clock, YYYYMMDD and HHMMSS; empty where not known."""

    instant: datetime | None
    has_time: bool
    local: tuple[str, str]


def read_start(attributes: Attributes, zone: ZoneInfo) -> Start:
    """The start that ScheduledProcedureStepStartDateTime names; a text without a zone is the site's time."""
    text = attributes.get("ScheduledProcedureStepStartDateTime", "")
    if not isinstance(text, str) or not text:
        return Start(instant=None, has_time=False, local=("", ""))
    if len(text) == len("2026-03-15"):
        midnight = datetime.combine(date.fromisoformat(text), time(), tzinfo=zone)
        return Start(instant=midnight.astimezone(UTC), has_time=False, local=(f"{midnight:%Y%m%d}", ""))
    instant = datetime.fromisoformat(text)
    local = (instant if instant.tzinfo else instant.replace(tzinfo=zone)).astimezone(zone)
    return Start(instant=local.astimezone(UTC), has_time=True, local=(f"{local:%Y%m%d}", f"{local:%H%M%S}"))
