"""Logging in and out, and the first start."""

from starlette.responses import Response

from gateway.flow import admit
from gateway.model.errors import Invalid, Refused
from gateway.store import users
from gateway.web.site import Site, Visit, go, local_path, render


def login_form(site: Site, visit: Visit) -> Response:
    """The form; the page asked for when the visitor is logged in already; the set-up when nobody can log in yet."""
    target = local_path(visit.query.get("next", ""))
    if _is_new(site):
        return go("/setup")
    if site.admitted(visit.token) is not None:
        return go(target)
    return render(site, visit, "login.html", next=target, name="", faults=())


def log_in(site: Site, visit: Visit) -> Response:
    """A session, and the page asked for; or the form again with what was wrong."""
    target = local_path(visit.form.get("next", ""))
    name = visit.form.get("name", "").strip()
    try:
        token = admit.log_in(site.ports, name=name, password=visit.form.get("password", ""), peer=visit.peer)
    except Refused as refused:
        return render(site, visit, "login.html", status=403, next=target, name=name, faults=(str(refused),))
    return _with_session(site, visit, go(target), token)


def log_out(site: Site, visit: Visit) -> Response:
    """The session is over and its cookie gone."""
    if visit.token:
        admit.log_out(site.ports, visit.token)
    response = go("/login")
    response.delete_cookie(site.cookie, httponly=True, samesite="lax", secure=site.secure_cookies)
    return response


def setup_form(site: Site, visit: Visit) -> Response:
    """The form that makes the first administrator; the login when there is one."""
    if not _is_new(site):
        return go("/login")
    return render(site, visit, "setup.html", name="", faults=())


def set_up(site: Site, visit: Visit) -> Response:
    """The first administrator, logged in; or the form again with everything that was wrong."""
    if not _is_new(site):
        return go("/login")
    name = visit.form.get("name", "").strip()
    try:
        token = _first_session(site, visit, name)
    except Invalid as invalid:
        return render(site, visit, "setup.html", status=422, name=name, faults=invalid.faults)
    except Refused as refused:
        return render(site, visit, "setup.html", status=403, name=name, faults=(str(refused),))
    return _with_session(site, visit, go("/"), token)


def _first_session(site: Site, visit: Visit, name: str) -> str:
    password = visit.form.get("password", "")
    if password != visit.form.get("again", ""):
        raise Invalid("password: the two do not match")
    return admit.set_up(site.ports, secret=visit.form.get("secret", ""), name=name, password=password)


def _is_new(site: Site) -> bool:
    with site.ports.database.read() as tx:
        return users.count(tx) == 0


def _with_session(site: Site, visit: Visit, response: Response, token: str) -> Response:
    if visit.token:
        admit.log_out(site.ports, visit.token)  # what was there before is worth nothing any more
    response.set_cookie(
        site.cookie, token, path="/", httponly=True, samesite="lax", secure=site.secure_cookies
    )
    return response
