"""The dashboard: the day's orders."""

from dataclasses import dataclass
from datetime import date, timedelta

from starlette.responses import Response

from gateway.model.errors import Invalid
from gateway.model.lifecycle import State
from gateway.web.listing import Filters, of_day
from gateway.web.notice import notice_of
from gateway.web.site import Site, Visit, render


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """The day shown, beside its neighbours."""

    day: date
    today: date

    @property
    def before(self) -> date:
        """The day before."""
        return self.day - timedelta(days=1)

    @property
    def after(self) -> date:
        """The day after."""
        return self.day + timedelta(days=1)

    @property
    def words(self) -> str:
        """ "Today", or how far off it is."""
        near = {0: "Today", -1: "Yesterday", 1: "Tomorrow"}
        return near.get((self.day - self.today).days, f"{self.day:%A}")


def show(site: Site, visit: Visit) -> Response:
    """The orders of `?day=` (else today). Raises Invalid for a day or state there is none of."""
    day = _day(site, visit)
    filters = _filters(site, visit)
    listing = of_day(site.ports, day.day, filters)
    return render(
        site,
        visit,
        "dashboard.html",
        day=day,
        filters=filters,
        listing=listing,
        since=listing.since,
        stations=site.ports.stations,
        notice=notice_of(site, visit),
    )


def _day(site: Site, visit: Visit) -> Day:
    today = site.ports.clock().astimezone(site.ports.zone).date()
    asked = visit.query.get("day", "")
    try:
        day = date.fromisoformat(asked) if asked else today
    except ValueError:
        raise Invalid("day: not a date (YYYY-MM-DD)") from None
    if not 1900 <= day.year <= 2999:
        raise Invalid("day: out of range")
    return Day(day=day, today=today)


def _filters(site: Site, visit: Visit) -> Filters:
    state, station = visit.query.get("state", ""), visit.query.get("station", "")
    if state not in {"", "open", *State}:
        raise Invalid("state: there is no such state")
    if station and station not in {s.ae_title for s in site.ports.stations}:
        raise Invalid("station: there is no such machine")
    return Filters(state=state, station=station)
