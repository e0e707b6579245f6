"""Merges of patients: who was merged into whom, what moved, and the button that takes it back."""

from dataclasses import dataclass

from starlette.responses import Response

from gateway.flow.unmerge import hindrance, unmerge
from gateway.model.errors import Conflict
from gateway.model.ids import MergeId
from gateway.model.merge import Merge
from gateway.store import changes, merges
from gateway.web.notice import notice_of
from gateway.web.site import Site, Visit, go_saying, render

SHOWN = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One merge on the page."""

    merge: Merge
    hindrance: str  # why it cannot be undone now, "" when it can


def listing(site: Site, visit: Visit) -> Response:
    """The newest merges that moved anything here; all of them with `?state=all`."""
    return _listed(site, visit)


def undo(site: Site, visit: Visit) -> Response:
    """The merge is undone; a conflict is shown as one. Raises NotFound."""
    merge_id = MergeId(visit.number("id"))
    try:
        unmerge(site.ports, merge_id, actor=visit.actor)
    except Conflict as conflict:
        return _listed(site, visit, fault=str(conflict))
    return go_saying(site, f"/merges#merge-{merge_id}", f"unmerged.{merge_id}")


def _listed(site: Site, visit: Visit, fault: str = "") -> Response:
    is_all = visit.query.get("state", "") == "all"
    with site.ports.database.read() as tx:
        since = changes.latest(tx)
        found = merges.newest(tx, limit=SHOWN)
        kept = [merge for merge in found if is_all or merge.moved.is_anything]
        lines = [Line(merge=merge, hindrance=hindrance(tx, merge)) for merge in kept]
    return render(
        site,
        visit,
        "merges.html",
        status=409 if fault else 200,
        since=since,
        lines=lines,
        hidden=len(found) - len(kept),
        is_all=is_all,
        fault=fault,
        notice=notice_of(site, visit),
    )
