"""Whether the gateway runs, and whether everything it needs is there."""

from starlette.responses import JSONResponse, PlainTextResponse, Response

from gateway.model.errors import Unavailable
from gateway.model.user import User
from gateway.web.site import Site, Visit


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


def _visitor(site: Site, visit: Visit) -> User | None:
    try:
        return site.admitted(visit.token)
    except Unavailable:
        return None
