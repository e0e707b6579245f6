"""The least of reading and searching: what a source sent or we read of it, by id or by identifier, for that source.

A sender that works by REST looks whether something is there before it creates it.
"""

import hashlib
from collections.abc import Iterable, Mapping
from urllib.parse import parse_qsl, urlencode

from starlette.responses import Response

from gateway.fhir.exact import encode_exact, read_exact
from gateway.fhir.responding import answer, refusal
from gateway.model.resource import Held
from gateway.store import resources
from gateway.store.database import Database

MOST = resources.PAGE

_NOT_ONE = "identifier: must be value, system|value or |value"


def etag_of(body: bytes, version: str = "") -> str:
    """The version as a weak entity tag; of a resource whose sender counts none, made of its bytes."""
    return f'W/"{version or hashlib.sha256(body).hexdigest()[:16]}"'


def show(database: Database, source: str, kind: str, own_id: str) -> Response:
    """The resource; 404 when it is not held, 410 when it was deleted. Source: FHIR R4 http.html, read."""
    with database.read() as tx:
        held = resources.of(tx, source, kind, own_id)
    if held is None:
        return refusal(404, "not-found", f"no {kind} of that id was sent or read")
    if held.is_deleted:
        return refusal(410, "deleted", f"this {kind} was deleted")
    return answer(200, held.body, {"ETag": etag_of(held.body, held.version)})


def search(
    database: Database, source: str, kind: str, asked: Iterable[tuple[str, str]], *, base: str
) -> Response:
    """A searchset Bundle of what has the identifier or the id; other parameters are passed over, as `self` shows.

    Source: FHIR R4 search.html: token, _id, _count; self link.
    """
    wanted = [(name, value) for name, value in asked if name in ("identifier", "_id", "_count")]
    try:
        found = _found(database, source, kind, dict(wanted))
    except ValueError:
        return refusal(400, "invalid", _NOT_ONE)
    address = f"{base}/{kind}"
    entries = [
        {
            "fullUrl": f"{address}/{held.id}",
            "resource": read_exact(held.body),
            "search": {"mode": "match"},
        }
        for held in found
    ]
    bundle = {
        "resourceType": "Bundle",
        "type": "searchset",
        "total": len(entries),
        "link": [{"relation": "self", "url": f"{address}?{urlencode(wanted)}" if wanted else address}],
        **({"entry": entries} if entries else {}),
    }
    return answer(200, encode_exact(bundle))


def existing(database: Database, source: str, kind: str, condition: str) -> Response | None:
    """The answer to a create on a condition when something meets it; None when the resource is to be created.

    Source: FHIR R4 http.html, conditional create: one match is left as it is, several are 412.
    """
    asked = dict(parse_qsl(condition.rpartition("?")[2]))
    if set(asked) - {"identifier", "_id"} or not asked:
        return refusal(412, "not-supported", "If-None-Exist: only identifier and _id can be asked for")
    try:
        found = _found(database, source, kind, asked)
    except ValueError:
        return refusal(412, "invalid", f"If-None-Exist: {_NOT_ONE}")
    if len(found) > 1:
        return refusal(412, "multiple-matches", f"If-None-Exist: several of type {kind} have it")
    if not found:
        return None
    return answer(200, found[0].body, {"ETag": etag_of(found[0].body, found[0].version)})


def _found(database: Database, source: str, kind: str, asked: Mapping[str, str]) -> tuple[Held, ...]:
    """Raises ValueError for an identifier that is none."""
    count = asked.get("_count", "")
    limit = min(int(count), MOST) if count.isascii() and count.isdigit() and len(count) < 9 else MOST
    with database.read() as tx:
        if "_id" in asked:
            held = resources.of(tx, source, kind, asked["_id"])
            several = (held,) if held is not None and not held.is_deleted else ()
            token = asked.get("identifier")
            return tuple(one for one in several if token is None or _has(one, _token(token)))[:limit]
        if "identifier" not in asked:
            return resources.find(tx, source, kind, limit=limit)
        found: dict[str, Held] = {}
        for token in asked["identifier"].split(","):
            for held in resources.find(tx, source, kind, identifier=_token(token), limit=limit):
                found.setdefault(held.id, held)
    return tuple(found.values())[:limit]


def _has(held: Held, token: tuple[str | None, str]) -> bool:
    system, value = token
    return any(value == own and system in (None, its) for its, own in held.identifiers)


def _token(text: str) -> tuple[str | None, str]:
    """Source: FHIR R4 search.html, token: a system that is left out is any, an empty one is none."""
    system, bar, value = text.rpartition("|")
    if not value:
        raise ValueError
    return (system if bar else None), value
