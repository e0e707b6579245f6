"""What FHIR servers are told of studies: transaction Bundles, each the newest state of one study.

registered -> available -> available, grown -> cancelled or entered-in-error, always under the same identifier.
Source: FHIR R4 bundle.html, http.html (transaction, conditional update); imagingstudy.html, status.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from urllib.parse import quote
from uuid import NAMESPACE_URL, uuid5
from zoneinfo import ZoneInfo

from gateway.fhir import beside, imaging_study, observations
from gateway.fhir.conformity import sound
from gateway.fhir.destination import Destination
from gateway.fhir.exact import encode_exact
from gateway.fhir.imaging_study import KIND
from gateway.fhir.parties import UID_SYSTEM
from gateway.fhir.primitives import Json
from gateway.flow.complete import Render
from gateway.flow.ports import Announce
from gateway.model.delivery import Around, Change, Outgoing
from gateway.model.ids import OrderId
from gateway.model.lifecycle import State
from gateway.model.order import Order, standing
from gateway.model.study import Study, StudyState

_ENDED = frozenset({"order.cancel", "order.discontinue", "order.expire"})
_MOVED = frozenset({"order.merge", "order.unmerge"})
_WITHDRAWN = "study.withdraw"
_EXPECTED = frozenset({"order.send", "study.expect"})
_OVER = frozenset({State.CANCELLED, State.DISCONTINUED, State.EXPIRED})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """A resource, and what finds it on the server."""

    resource: Json
    query: tuple[str, str, str]  # parameter, system, value
    full_url: str = ""  # what others call it; "": made of what finds it

    @property
    def name(self) -> str:
        return self.full_url or f"urn:uuid:{uuid5(NAMESPACE_URL, self.address)}"

    @property
    def address(self) -> str:
        """Source: FHIR R4 search.html, token; the bar between system and value is encoded."""
        parameter, system, value = self.query
        found = f"{quote(system, safe=':/')}%7C{quote(value, safe=':/')}"
        return f"{self.resource['resourceType']}?{parameter}={found}"


def renderer(destinations: Iterable[Destination], zone: ZoneInfo) -> Render:
    """What turns a study that is complete into news for each destination. `zone` is the site's."""
    told = tuple(destinations)
    return lambda study, orders: outgoing(study, orders, told, zone)


def announcer(destinations: Iterable[Destination], zone: ZoneInfo) -> Announce:
    """What turns a change of an order into news of its study, for those destinations that want it.

    Before there are images a study is told to those that want it `registered`; later changes are told to those that
    were told of it.
    """
    told = tuple(destinations)

    def announce(change: Change) -> tuple[Outgoing, ...]:
        if not told or change.action not in {_WITHDRAWN, *_EXPECTED, *_ENDED, *_MOVED}:
            return ()
        if change.action in _EXPECTED and not any(one.registered for one in told):
            return ()
        return tuple(_of_change(change, change.around(), told, zone))

    return announce


def outgoing(
    study: Study, orders: tuple[Order, ...], destinations: Iterable[Destination], zone: ZoneInfo
) -> tuple[Outgoing, ...]:
    """The news of the study for each destination. It rests on those of its orders that nobody took back."""
    asked = standing(orders)
    found = (
        _news(one, study.study_uid, study.order_id, _entries(study, asked, one, zone), study.id)
        for one in destinations
    )
    return tuple(news for news in found if news is not None)


def _of_change(
    change: Change, around: Around, told: tuple[Destination, ...], zone: ZoneInfo
) -> Iterator[Outgoing]:
    knowing = tuple(one for one in told if (one.name, KIND) in around.told)
    if around.study is not None:
        if change.action in _MOVED and around.study.state is StudyState.COMPLETE and not around.study.doubt:
            yield from outgoing(around.study, around.orders, knowing, zone)
        return
    if change.action == _WITHDRAWN:
        if all(order.state in _OVER or order.state is State.COMPLETED for order in around.orders):
            yield from _ordered((change.order,), knowing, is_cancelled=True)
        return
    orders = around.orders or (change.order,)
    if change.action in _ENDED and all(order.state in _OVER for order in orders):
        yield from _ordered(orders, knowing, is_cancelled=True)
    elif change.action in _EXPECTED:
        yield from _ordered(orders, (one for one in told if one.registered), is_cancelled=False)
    elif change.action in _MOVED:
        is_over = all(order.state in _OVER for order in orders)
        yield from _ordered(orders, knowing, is_cancelled=is_over)


def _ordered(
    orders: tuple[Order, ...], destinations: Iterable[Destination], *, is_cancelled: bool
) -> Iterator[Outgoing]:
    asked = standing(orders)
    uid = asked[0].study_uid
    for one in destinations:
        resource = imaging_study.render_ordered(asked, one, is_cancelled=is_cancelled)
        news = _news(one, uid, asked[0].id, [_study_entry(resource, uid)], 0)
        if news is not None:
            yield news


def _entries(
    study: Study, orders: tuple[Order, ...], destination: Destination, zone: ZoneInfo
) -> list[_Entry]:
    """The study and what is told beside it, each behind those that it refers to."""
    found: list[_Entry] = []
    if destination.dicomweb_url and not study.doubt:
        endpoint = beside.render_endpoint(destination)
        place = ("identifier", beside.URI_SYSTEM, destination.dicomweb_url)
        found.append(_Entry(resource=endpoint, query=place))
    at = found[0].name if found else ""
    resource = imaging_study.render(study, orders, destination, zone, at)
    found.append(_study_entry(resource, study.study_uid))
    if destination.observations:
        found += _measured(study, orders, destination, zone, found[-1].name)
    if destination.provenance:
        targets = [one.name for one in found if one.resource["resourceType"] != "Endpoint"]
        made = beside.render_provenance(
            study, orders, destination, zone, recorded=study.completed_at or study.last_at, targets=targets
        )
        tag = ("_tag", UID_SYSTEM, f"urn:oid:{study.study_uid}")
        found.append(_Entry(resource=made, query=tag))
    return found


def _measured(
    study: Study, orders: tuple[Order, ...], destination: Destination, zone: ZoneInfo, part_of: str
) -> list[_Entry]:
    """The Observations, the report that gathers them where it is wanted, and the end of those that were replaced."""
    picked = observations.chosen(study.measurements)
    found = [
        _Entry(
            resource=observations.render_observation(one, study, orders, destination, zone, part_of),
            query=("identifier", *one.identifier),
        )
        for one in picked
    ]
    if destination.report and found:
        status = observations.status_of(picked)
        results = [one.name for one in found]
        report = beside.render_report(
            study, orders, destination, zone, status=status, part_of=part_of, results=results
        )
        query = ("identifier", beside.REPORT_SYSTEM, f"urn:oid:{study.study_uid}")
        found.append(_Entry(resource=report, query=query))
    found += [
        _Entry(resource=observations.render_withdrawn(one), query=("identifier", *one.identifier))
        for one in observations.replaced(study.measurements)
    ]
    return found


def _study_entry(resource: Json, study_uid: str) -> _Entry:
    name = f"urn:oid:{study_uid}"
    return _Entry(resource=resource, query=("identifier", UID_SYSTEM, name), full_url=name)


def _news(
    destination: Destination, study_uid: str, order_id: OrderId | None, entries: list[_Entry], study: int
) -> Outgoing | None:
    """None when not even the study could be told as FHIR wants it."""
    checked = [(entry, sound(entry.resource, destination.release, study)) for entry in entries]
    missing = {entry.name for entry, resource in checked if resource is None}
    told: list[Json] = []
    for entry, resource in checked:
        if resource is not None:
            request = {"method": "PUT", "url": entry.address}
            told.append({"fullUrl": entry.name, "resource": _without(resource, missing), "request": request})
    if not any(one["resource"]["resourceType"] == KIND for one in told):
        return None
    return Outgoing(
        destination=destination.name,
        kind=KIND,
        key=study_uid,
        order_id=order_id,
        payload=encode_exact({"resourceType": "Bundle", "type": "transaction", "entry": told}),
    )


def _without(resource: Json, missing: set[str]) -> Json:
    """The resource without references to what does not leave: a server refuses the whole for one of them."""
    pruned = {
        name: [one for one in value if not (isinstance(one, dict) and one.get("reference") in missing)]
        if isinstance(value, list)
        else value
        for name, value in resource.items()
    }
    return {name: value for name, value in pruned.items() if value != []}
