"""Every page and action with what it asks of the visitor, and the application they make."""

from collections.abc import Callable, Mapping, Sequence

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.routing import BaseRoute, Route

from gateway.flow.ports import Ports
from gateway.flow.replay import Rework
from gateway.flow.watch_feeds import Watcher
from gateway.mapping.replay import Readable
from gateway.mapping.watch import Watch
from gateway.model.ids import StudyId
from gateway.model.message import Message
from gateway.model.user import Permission
from gateway.web import (
    assets,
    dashboard,
    deliveries,
    guard,
    health,
    live,
    login,
    mappings_page,
    merges,
    message,
    messages,
    metrics,
    orders,
    pages,
    stations,
    studies,
)
from gateway.web.events import Feed
from gateway.web.guard import EVERYONE, Entry
from gateway.web.security import SameOrigin, SecureHeaders
from gateway.web.site import Site

MAX_BODY_BYTES = 64 * 1024

TABLE: tuple[Entry, ...] = (
    Entry(path="/", method="GET", page=dashboard.show, needs=Permission.VIEW_ORDERS),
    Entry(path="/login", method="GET", page=login.login_form, needs=EVERYONE),
    Entry(path="/login", method="POST", page=login.log_in, needs=EVERYONE),
    Entry(path="/logout", method="POST", page=login.log_out, needs=EVERYONE),
    Entry(path="/setup", method="GET", page=login.setup_form, needs=EVERYONE),
    Entry(path="/setup", method="POST", page=login.set_up, needs=EVERYONE),
    Entry(path="/orders/{id:int}", method="GET", page=orders.show, needs=Permission.VIEW_ORDERS),
    Entry(path="/orders/{id:int}/send", method="POST", page=orders.send, needs=Permission.SEND_ORDERS),
    Entry(path="/orders/{id:int}/recall", method="POST", page=orders.recall, needs=Permission.SEND_ORDERS),
    Entry(path="/orders/{id:int}/cancel", method="POST", page=orders.cancel, needs=Permission.CHANGE_ORDERS),
    Entry(path="/studies/{id:int}", method="GET", page=studies.show, needs=Permission.VIEW_ORDERS),
    Entry(
        path="/studies/{id:int}/instances/{iid:int}/thumbnail",
        method="GET",
        page=studies.thumbnail,
        needs=Permission.VIEW_ORDERS,
    ),
    Entry(
        path="/studies/{id:int}/complete",
        method="POST",
        page=studies.complete,
        needs=Permission.CHANGE_ORDERS,
    ),
    Entry(path="/stations", method="GET", page=stations.listing, needs=Permission.VIEW_ORDERS),
    Entry(path="/messages", method="GET", page=messages.listing, needs=Permission.VIEW_MESSAGES),
    Entry(path="/messages", method="POST", page=messages.find, needs=Permission.VIEW_MESSAGES),
    Entry(path="/messages/{id:int}", method="GET", page=message.show, needs=Permission.VIEW_MESSAGES),
    Entry(path="/messages/{id:int}/retry", method="POST", page=message.retry, needs=Permission.RETRY),
    Entry(path="/messages/{id:int}/edit", method="GET", page=message.edit, needs=Permission.RETRY),
    Entry(path="/messages/{id:int}/edit", method="POST", page=message.retry_copy, needs=Permission.RETRY),
    Entry(path="/messages/{id:int}/discard", method="POST", page=message.put_away, needs=Permission.RETRY),
    Entry(path="/deliveries", method="GET", page=deliveries.listing, needs=Permission.VIEW_MESSAGES),
    Entry(path="/deliveries/{id:int}/retry", method="POST", page=deliveries.again, needs=Permission.RETRY),
    Entry(path="/merges", method="GET", page=merges.listing, needs=Permission.VIEW_ORDERS),
    Entry(path="/merges/{id:int}/undo", method="POST", page=merges.undo, needs=Permission.CHANGE_ORDERS),
    Entry(path="/mappings", method="GET", page=mappings_page.listing, needs=Permission.MANAGE_MAPPINGS),
    Entry(
        path="/mappings/changes", method="GET", page=mappings_page.changes, needs=Permission.MANAGE_MAPPINGS
    ),
    Entry(
        path="/mappings/activate",
        method="POST",
        page=mappings_page.activate,
        needs=Permission.MANAGE_MAPPINGS,
    ),
    Entry(path="/events", method="GET", page=live.stream, needs=Permission.VIEW_ORDERS, is_use=False),
    Entry(path="/healthz", method="GET", page=health.alive, needs=EVERYONE),
    Entry(path="/metrics", method="GET", page=metrics.show, needs=EVERYONE),  # brings its own admission
    Entry(path="/health", method="GET", page=health.show, needs=Permission.VIEW_ORDERS),
    Entry(path="/readyz", method="GET", page=health.ready, needs=EVERYONE),
    Entry(path="/static/{name}", method="GET", page=assets.asset, needs=EVERYONE),
)
"""The one place that says who may open what."""


def build(
    ports: Ports,
    *,
    site_name: str,
    ready: Callable[[], Mapping[str, str]],
    complete: Callable[[StudyId, str], None],
    more: Sequence[BaseRoute] = (),
    warnings: Callable[[], Sequence[str]] = tuple,
    secure_cookies: bool = False,
    mappings: Watch | None = None,
    read: Callable[[Message], Readable] | None = None,
    rework: Rework | None = None,
    watcher: Watcher | None = None,
    metrics_token: str = "",
    expected: Callable[[str, str], Mapping[str, str]] = lambda _title, _implementation: {},
) -> Starlette:
    """The application: our pages, and `more` routes of other rooms, which bring their own admission.

    `app.state.end_streams()` ends the open event streams within a second; call it before stopping a server that
    handles no signals itself. `secure_cookies` says that the site is reached by TLS only.
    """
    site = Site(
        ports=ports,
        name=site_name,
        pages=pages.environment(ports),
        feed=Feed(ports.database),
        ready=ready,
        complete=complete,
        warnings=warnings,
        secure_cookies=secure_cookies,
        mappings=mappings,
        read=read,
        rework=rework,
        watcher=watcher,
        metrics_token=metrics_token,
        expected=expected,
    )
    app = Starlette(
        routes=[*(_route(site, entry) for entry in TABLE), *more],
        middleware=[Middleware(SecureHeaders, with_tls=secure_cookies)],
        exception_handlers={HTTPException: guard.http_error(site), Exception: guard.crashed},
    )
    app.state.end_streams = site.feed.close
    return app


def _route(site: Site, entry: Entry) -> Route:
    return Route(
        entry.path,
        guard.endpoint(site, entry),
        methods=[entry.method],
        name=f"{entry.method} {entry.path}",
        middleware=[Middleware(SameOrigin)],
        max_body_size=MAX_BODY_BYTES,
    )
