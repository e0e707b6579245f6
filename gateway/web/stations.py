"""The machines: when each last asked for its worklist, what it asked and what it got."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from starlette.responses import Response

from gateway.model.receipt import Asking
from gateway.store import changes, receipts
from gateway.store.database import Tx
from gateway.web.site import Site, Visit, render

_SHOWN = 5  # questions of one machine


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A machine and its latest questions, the newest first; none when it never asked."""

    ae_title: str
    name: str
    modality: str
    is_configured: bool
    asked: tuple[Asking, ...]
    expected: Mapping[str, str]  # what it does beside the worklist: yes, no or sometimes


def listing(site: Site, visit: Visit) -> Response:
    """Every configured machine, then everybody else who asked."""
    with site.ports.database.read() as tx:
        since = changes.latest(tx)
        machines = tuple(_machines(site, tx))
    return render(site, visit, "stations.html", since=since, machines=machines)


def _machines(site: Site, tx: Tx) -> Iterator[Machine]:
    known = {station.ae_title: station for station in site.ports.stations}
    others = [title for title in receipts.askers(tx) if title not in known]
    for title in (*known, *others):
        station = known.get(title)
        asked = receipts.recent(tx, title, _SHOWN)
        yield Machine(
            ae_title=title,
            name=station.name if station else title,
            modality=station.modality if station else "",
            is_configured=station is not None,
            asked=asked,
            expected=site.expected(title, asked[0].asker.implementation_uid if asked else ""),
        )
