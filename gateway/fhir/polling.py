"""Everything that changed at a record system since a moment, page by page. Source: FHIR R4 search.html."""

from collections.abc import Callable
from datetime import datetime, timedelta
from urllib.parse import parse_qsl, quote

from gateway.fhir.classify import entries_of, resource_of, text_at
from gateway.fhir.exact import encode_exact
from gateway.fhir.holding import read_instant
from gateway.fhir.reader import Reader
from gateway.mapping.fhir_paths import Resource
from gateway.model.errors import Refused

OVERLAP = timedelta(seconds=60)
"""What a server commits late may have an earlier `lastUpdated` than what it showed before."""
PAGE = 200

_BESIDE = ("_include=ServiceRequest:subject", "_include=ServiceRequest:requester", "_revinclude=Task:focus")
_BY_CHANGE = "_lastUpdated"
_SORTED = f"_sort={_BY_CHANGE}"


def poll(
    reader: Reader,
    criteria: str,
    since: datetime,
    *,
    take: Callable[[bytes], None],
    reached: Callable[[datetime | None, bool], None],
) -> None:
    """Every page was taken. `reached` is told the newest change whose page is durable, and whether it was the last;
    before the last only where the server says and shows that it sorts, for else an older one may be still to come.

    A server that refuses to sort or to bring along what orders refer to is asked for the orders alone.
    Raises NotFound, Refused, Unavailable.
    """
    try:
        _walk(
            reader,
            _query(criteria, since, _BESIDE if _is_of_orders(criteria) else (), _SORTED),
            take,
            reached,
        )
    except Refused:
        _walk(reader, _query(criteria, since, (), ""), take, reached)


def _walk(
    reader: Reader,
    query: str,
    take: Callable[[bytes], None],
    reached: Callable[[datetime | None, bool], None],
) -> None:
    seen: tuple[datetime, ...] = ()  # the newest change
    is_sorted = True
    for number, page in enumerate(reader.pages(query)):
        if next(entries_of(page), None) is not None:
            take(encode_exact(page))
        changes = (*seen, *_changes(page))
        is_sorted = is_sorted and (number > 0 or _says_sorted(page)) and list(changes) == sorted(changes)
        seen = (max(changes),) if changes else ()
        if is_sorted:
            reached(next(iter(seen), None), False)
    reached(next(iter(seen), None), True)


def _says_sorted(page: Resource) -> bool:
    """Whether the server did sort; one that does not may pass over the wish in silence.

    Source: FHIR R4 search.html, server conformance: the link `self` has the parameters that were used.
    """
    links = page.get("link")
    own = (one for one in (links if isinstance(links, list) else ()) if isinstance(one, dict))
    urls = (text_at(one, "url") for one in own if one.get("relation") == "self")
    return dict(parse_qsl(next(urls, "").partition("?")[2])).get("_sort") == _BY_CHANGE


def _query(criteria: str, since: datetime, beside: tuple[str, ...], order: str) -> str:
    """The search below the base; what a person wrote is encoded where it must be."""
    kind, _, wanted = criteria.partition("?")
    moment = quote((since - OVERLAP).isoformat(timespec="seconds"))
    parts = (quote(wanted, safe="&=/:,%-._~"), f"_lastUpdated=gt{moment}", *beside, order, f"_count={PAGE}")
    return f"{kind}?{'&'.join(part for part in parts if part)}"


def _is_of_orders(criteria: str) -> bool:
    return criteria.partition("?")[0] == "ServiceRequest"


def _changes(page: Resource) -> tuple[datetime, ...]:
    """When each match changed; what was included has times of its own."""
    found = (
        read_instant(text_at(inner, "meta", "lastUpdated"))
        for entry in entries_of(page)
        if text_at(entry, "search", "mode") != "include" and (inner := resource_of(entry)) is not None
    )
    return tuple(moment for moment in found if moment is not None)
