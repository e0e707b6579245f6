"""What is not as it should be, in the words of whoever has to do something about it."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from gateway.flow.watch_feeds import Heard, Standing
from gateway.mapping.registry import Modules
from gateway.model.delivery import DeliveryState
from gateway.web.wording import moment_words

_PARTS = {
    "database": (
        "The database",
        "Orders can neither come in nor be sent. Call whoever runs it; nothing that was acknowledged is lost.",
    ),
    "disk": (
        "The disk for images",
        "Machines will soon not be able to store. Make room or add a larger disk.",
    ),
    "mappings": (
        "The mapping modules",
        "Every order is refused until one can be used. Mend the files, see the page Mappings.",
    ),
    "workers": (
        "The work behind the page",
        "Start the gateway again, and send its log to whoever looks after it.",
    ),
}
_ELSE = "Look into the gateway's log, or call whoever looks after it."


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something a person should know, and what to do about it. `link` is "" or the page where it is done."""

    tone: str  # "bad": act now; "warn": have a look
    what: str
    text: str
    advice: str
    link: str = ""


def part_findings(parts: Mapping[str, str]) -> Iterator[Finding]:
    """The parts that are in trouble."""
    for name, trouble in parts.items():
        if trouble:
            what, advice = _PARTS.get(name, (name, _ELSE))
            yield Finding(tone="bad", what=what, text=trouble, advice=advice)


def mapping_findings(modules: Modules) -> Iterator[Finding]:
    """What is wrong with the files of the mapping modules, and what is odd in them."""
    for fault in modules.faults:
        advice = "The file is not used; its last good version stays. Mend it, see the page Mappings."
        yield Finding(tone="bad", what="A mapping file", text=fault, advice=advice, link="/mappings")
    for warning in modules.warnings:
        advice = "The module is used all the same. Its author should look at that line."
        yield Finding(tone="warn", what="A mapping module", text=warning, advice=advice, link="/mappings")


def warning_findings(warnings: Iterable[str]) -> Iterator[Finding]:
    """What other systems and the settings leave to be mended while everything goes on working."""
    for warning in warnings:
        what, _, text = warning.partition(": ")
        named = text and " " not in what  # "fhir.sources.ehr": the setting that it is about
        yield Finding(
            tone="warn",
            what=what if named else "To be mended",
            text=text if named else warning,
            advice="The rest goes on working. Whoever looks after the gateway should see to it.",
        )


def standing_findings(now: Standing, zone: ZoneInfo) -> Iterator[Finding]:
    """What the watch found, the worst first."""
    for feed in now.feeds:
        yield from _feed_findings(feed, now, zone)
    if dead := now.figures.deliveries.get(DeliveryState.DEAD, 0):
        yield Finding(
            tone="bad",
            what="Deliveries",
            text=f"{_counted(dead, 'delivery was', 'deliveries were')} refused for good.",
            advice="Read what the other side said, have it mended there, then press Try again now.",
            link="/deliveries?state=dead",
        )
    if now.is_held_long:
        yield Finding(
            tone="warn",
            what="Held messages",
            text=f"{_counted(now.figures.held, 'message waits', 'messages wait')} for a person; "
            f"more than {now.limits.held} are too many.",
            advice="Look at the oldest first: one wrong code often holds many.",
            link="/messages?state=held",
        )
    yield from _code_findings(now, zone)


def duration_words(span: timedelta) -> str:
    """ "3 h 20 min", "45 min", "2 days"."""
    minutes = int(span.total_seconds()) // 60
    if minutes >= 48 * 60:
        return f"{minutes // (24 * 60)} days"
    hours, rest = divmod(minutes, 60)
    return (
        " ".join(text for count, text in ((hours, f"{hours} h"), (rest, f"{rest} min")) if count) or "0 min"
    )


def _feed_findings(feed: Heard, now: Standing, zone: ZoneInfo) -> Iterator[Finding]:
    if feed.quiet_for is not None:
        last = f"The last message came {_when(feed.last_at, zone)}." if feed.last_at else "None ever came."
        yield Finding(
            tone="bad",
            what=f"The feed {feed.name}",
            text=f"It has been silent for {duration_words(feed.quiet_for)} of business hours. {last}",
            advice="Ask whoever runs the sending system whether its interface runs and whether messages queue there.",
        )
    if feed.is_flapping:
        minutes = int(now.limits.within.total_seconds()) // 60
        yield Finding(
            tone="warn",
            what=f"The feed {feed.name}",
            text=f"Its sender connected {feed.connects} times in {minutes} minutes.",
            advice="A sender that connects for each message is slow; one that loses its line may lose patience too. "
            "Ask for one lasting connection, and look at the firewall between.",
        )


def _code_findings(now: Standing, zone: ZoneInfo) -> Iterator[Finding]:
    for one in now.codes[:50]:
        times = "once" if one.times == 1 else f"{one.times} times"
        yield Finding(
            tone="warn",
            what=f"A code of {one.source}",
            text=f"The table {one.table} does not know {one.code}; first seen {_when(one.first_at, zone)}, "
            f"{times} until now.",
            advice="Add it to the table of the mapping module, or ask the sender what it means.",
            link="/mappings",
        )


def worst_first(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """What needs doing now before what needs a look."""
    return tuple(sorted(findings, key=lambda finding: finding.tone != "bad"))


def _when(instant: datetime | None, zone: ZoneInfo) -> str:
    return moment_words(instant, zone)


def _counted(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"
