"""Whether the gateway runs, whether everything it needs is there, and what a person should look at."""

import shutil

from starlette.responses import JSONResponse, PlainTextResponse, Response

from gateway.model.errors import Unavailable
from gateway.model.user import Permission, User
from gateway.web.site import Site, Visit, render
from gateway.web.standing import (
    mapping_findings,
    part_findings,
    standing_findings,
    warning_findings,
    worst_first,
)

_PAGES = {"/messages": Permission.VIEW_MESSAGES, "/deliveries": Permission.VIEW_MESSAGES}


def alive(site: Site, visit: Visit) -> Response:
    """200 as long as the process answers."""
    return PlainTextResponse("ok\n")


def ready(site: Site, visit: Visit) -> Response:
    """Each part by name: 200 when all is well, 503 when any has trouble.

    `warnings` are what a person must mend while everything goes on working: a faulty mapping file whose older version
    is still in use. Somebody who is logged in reads what the trouble is; others only that there is one, or how many.
    """
    parts, warnings = dict(site.ready()), list(site.warnings())
    status = 503 if any(parts.values()) else 200
    if _visitor(site, visit) is None:
        hidden = {name: "trouble" if trouble else "ok" for name, trouble in parts.items()}
        return JSONResponse({**hidden, "warnings": len(warnings)}, status)
    return JSONResponse({**parts, "warnings": warnings}, status)


def show(site: Site, visit: Visit) -> Response:
    """What is wrong with what to do about it, then the feeds and the queues."""
    parts = site.ready()
    now = site.watcher.standing() if site.watcher is not None and not parts.get("database") else None
    findings = [*part_findings(parts)]
    if now is not None:
        findings += standing_findings(now, site.ports.zone)
    if site.mappings is not None:
        findings += mapping_findings(site.mappings.active)
    told = frozenset(site.mappings.active.faults) if site.mappings is not None else frozenset()
    findings += warning_findings(warning for warning in site.warnings() if warning not in told)

    def may_follow(link: str) -> bool:
        return visit.person.may(_PAGES.get(link.partition("?")[0], Permission.MANAGE_MAPPINGS))

    return render(
        site,
        visit,
        "health.html",
        findings=worst_first(findings),
        now=now,
        minutes=int(now.limits.within.total_seconds()) // 60 if now else 0,
        free=f"{shutil.disk_usage(site.ports.files.incoming).free / 1e9:.1f} GB",
        may_follow=may_follow,
    )


def _visitor(site: Site, visit: Visit) -> User | None:
    try:
        return site.admitted(visit.token)
    except Unavailable:
        return None
