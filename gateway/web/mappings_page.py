"""The mapping modules: which are in use, what is wrong with files that are not, and what a change would do."""

from collections.abc import Iterator
from dataclasses import dataclass

from starlette.responses import Response

from gateway.mapping.conditions import AllOf, Equals
from gateway.mapping.diff import Comparison, Kind, compare
from gateway.mapping.module import Module
from gateway.mapping.replay import Readable
from gateway.mapping.watch import Standing, Watch, edition, modules_of, versions
from gateway.model.audit import AuditEvent
from gateway.model.errors import Malformed, NotFound
from gateway.store import audit, inbox
from gateway.web.notice import notice_of
from gateway.web.site import Site, Visit, go_saying, render

LAST = 500
"""How many of the newest messages a change is tried on."""

SHOWN = 200
"""How many differences a page shows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A module and what would become of it: `waits` is "", "changed", "new" or "removed"."""

    module: Module
    waits: str

    @property
    def matches(self) -> str:
        """ "MSH-9.1 is ORM, OMG; MSH-4.1 is CLINIC": the messages the module is for."""
        match = self.module.match
        if match is None:
            return "nothing: other modules extend it"
        parts = match.conditions if isinstance(match, AllOf) else (match,)
        equal = [f"{p.path.text} is {', '.join(sorted(p.values))}" for p in parts if isinstance(p, Equals)]
        return "; ".join(equal + ["a further condition"] * (len(parts) - len(equal)))


def listing(site: Site, visit: Visit) -> Response:
    """Every module in use, and what waits."""
    watch = _watch(site)
    standing = watch.standing
    return render(
        site,
        visit,
        "mappings.html",
        rows=_rows(standing),
        faults=standing.active.faults,
        remarks=standing.active.warnings,
        pending=standing.pending,
        is_automatic=watch.is_automatic,
        notice=notice_of(site, visit),
    )


def changes(site: Site, visit: Visit) -> Response:
    """What the changed modules would make of the newest messages. That somebody looked is recorded."""
    standing = _watch(site).standing
    if standing.pending is None:
        raise NotFound("nothing waits to be activated")
    unread: list[str] = []
    found = compare(standing.active, standing.pending, _newest(site, unread))
    _record(site, visit, "mappings.view", f"{found.messages} messages compared")
    return render(
        site,
        visit,
        "mapping_changes.html",
        found=found,
        entries=found.entries[:SHOWN],
        counts=_counts(found),
        unread=len(unread),
        edition=edition(standing.pending),
        faults=standing.pending.faults,
        rows=[row for row in _rows(standing) if row.waits],
    )


def activate(site: Site, visit: Visit) -> Response:
    """The changed modules are in use, when they are still those that were looked at. Raises Conflict."""
    _watch(site).activate(visit.form.get("edition", ""))
    _record(site, visit, "mappings.activate", ", ".join(versions(_watch(site).active)))
    return go_saying(site, "/mappings", "activated.1")


def _watch(site: Site) -> Watch:
    if site.mappings is None:
        raise NotFound("this gateway maps nothing")
    return site.mappings


def _rows(standing: Standing) -> list[Row]:
    active, pending = modules_of(standing.active), standing.pending
    if pending is None:
        return [Row(module=module, waits="") for module in active]
    before, after = versions(standing.active), versions(pending)
    rows = [Row(module=module, waits=_waits(module, after)) for module in active]
    return rows + [
        Row(module=module, waits="new") for module in modules_of(pending) if module.name not in before
    ]


def _waits(module: Module, after: dict[str, str]) -> str:
    if module.name not in after:
        return "removed"
    return "" if after[module.name] == module.ref.version else "changed"


def _newest(site: Site, unread: list[str]) -> Iterator[tuple[str, Readable]]:
    """The newest messages, each with its number; those that cannot be read go to `unread`."""
    assert site.read is not None  # given together with the modules
    with site.ports.database.read() as tx:
        stored = inbox.newest(tx, limit=LAST)
    for message in stored:
        try:
            yield str(message.id), site.read(message)
        except Malformed:
            unread.append(str(message.id))


def _counts(found: Comparison) -> str:
    return ", ".join(f"{found.count(kind)} {kind}" for kind in (Kind.LOST, Kind.NEW, Kind.CHANGED))


def _record(site: Site, visit: Visit, action: str, detail: str) -> None:
    event = AuditEvent(
        at=site.ports.clock(), actor=visit.actor, action=action, subject="mappings", detail=detail[:200]
    )
    with site.ports.database.write() as tx:
        audit.record(tx, event)
