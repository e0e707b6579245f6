"""What was not pushed is found: fetched when it is named, looked for when it is not."""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from gateway.fhir.auth import Source
from gateway.fhir.exchange import Connection
from gateway.fhir.reader import Reader
from gateway.fhir.reading_back import ReadingBack
from gateway.flow.errand import run_due
from gateway.flow.follow import Follower, Rhythm, hear, reached
from gateway.flow.ports import Ports
from gateway.mapping.registry import Modules
from gateway.model.errand import ErrandKind, Wanted
from gateway.model.following import Heard
from gateway.model.lifecycle import State
from gateway.store import errands, following, inbox, orders, resources
from tests.conftest import FakeClock

EHR = Source(name="ehr", auth=(), base_url="https://ehr.example/fhir", polls="ServiceRequest?category=a|b")


class Place:
    """The gateway beside a record system that answers what it is asked."""

    def __init__(self, ports: Ports, modules: Modules) -> None:
        self.ports = ports
        self.there: dict[str, Any] = {}
        self.asked: list[str] = []
        client = httpx.Client(transport=httpx.MockTransport(self._answer))
        reader = Reader("https://ehr.example/fhir", Connection(client, 5.0), sleep=lambda _: None)
        self.read = ReadingBack(EHR, reader, ports, lambda: modules)

    def owe(self, kind: ErrandKind, target: str = "") -> None:
        with self.ports.database.write() as tx:
            errands.add(tx, "ehr", Wanted(kind=kind, target=target), self.ports.clock())

    def work(self) -> int:
        return run_due(self.ports, "ehr", self.read, patience=timedelta(minutes=5))

    def states(self) -> list[State]:
        with self.ports.database.read() as tx:
            return [order.state for order in reversed(orders.newest(tx))]

    def count(self) -> int:
        with self.ports.database.read() as tx:
            return len(inbox.newest(tx))

    def is_owed(self) -> bool:
        with self.ports.database.read() as tx:
            return errands.is_open(tx, "ehr", ErrandKind.POLL)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        path = str(request.url).removeprefix("https://ehr.example/fhir/")
        self.asked.append(path)
        for start, answer in self.there.items():
            if path.startswith(start):
                return answer(path) if callable(answer) else httpx.Response(200, json=answer)
        return httpx.Response(404, json={"resourceType": "OperationOutcome"})


@pytest.fixture
def place(ports: Ports, modules: Modules) -> Place:
    return Place(ports, modules)


@pytest.fixture
def order(wire: Callable[[str], bytes]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(wire("aidbox-notification"))["resource"]
    return found


def _page(*resources: dict[str, Any], following: str = "", own: str = "") -> dict[str, Any]:
    named = {"self": own, "next": following}
    link = [{"relation": relation, "url": url} for relation, url in named.items() if url]
    entry = [{"resource": one, "search": {"mode": "match"}} for one in resources]
    return {"resourceType": "Bundle", "type": "searchset", "link": link, "entry": entry}


def _version(order: dict[str, Any], number: str, at: str, **more: Any) -> dict[str, Any]:
    return {**order, "meta": {"versionId": number, "lastUpdated": at}, **more}


def test_what_was_named_is_fetched_and_kept_as_a_message(place: Place, order: dict[str, Any]) -> None:
    place.there["ServiceRequest/31"] = order
    place.owe(ErrandKind.FETCH, "ServiceRequest/31")
    assert place.work() == 1
    assert (place.states(), place.count()) == ([State.SCHEDULED], 1)
    place.owe(ErrandKind.FETCH, "ServiceRequest/31")
    place.work()
    assert (place.states(), place.count()) == ([State.SCHEDULED], 1)


def test_what_was_named_and_is_gone_was_taken_back(place: Place, order: dict[str, Any]) -> None:
    place.there["ServiceRequest/31"] = order
    place.owe(ErrandKind.FETCH, "ServiceRequest/31")
    place.work()
    place.there["ServiceRequest/31"] = lambda _: httpx.Response(410)
    place.owe(ErrandKind.FETCH, "ServiceRequest/31")
    place.work()
    assert place.states() == [State.CANCELLED]


def test_a_page_that_stands_in_between_takes_nothing_back(place: Place, order: dict[str, Any]) -> None:
    place.there["ServiceRequest/31"] = order
    place.owe(ErrandKind.FETCH, "ServiceRequest/31")
    place.work()
    place.there["ServiceRequest/31"] = lambda _: httpx.Response(404, html="<html>Apache Tomcat: 404</html>")
    place.owe(ErrandKind.FETCH, "ServiceRequest/31")
    place.work()
    assert place.states() == [State.SCHEDULED]
    with place.ports.database.read() as tx:
        assert errands.is_open(tx, "ehr", ErrandKind.FETCH)


@pytest.mark.parametrize(
    ("target", "is_read"),
    [
        ("Patient?identifier=urn:mrn|MRN1", True),
        ("Patient?identifier=|MRN1", True),
        ("Patient?identifier=urn:mrn|MRN2", False),
        ("Patient?identifier=urn:other|MRN1", False),
        ("Patient?identifier=|MRN2", False),
    ],
)
def test_a_search_is_answered_only_by_who_has_the_identifier(
    place: Place, target: str, is_read: bool
) -> None:
    """Servers pass over what they cannot search by, and answer with somebody."""
    patient = {"resourceType": "Patient", "id": "7", "identifier": [{"system": "urn:mrn", "value": "MRN1"}]}
    place.there["Patient?identifier"] = _page(patient)
    place.owe(ErrandKind.READ, target)
    place.work()
    with place.ports.database.read() as tx:
        assert (resources.of(tx, "ehr", "Patient", "7") is not None) is is_read


def test_a_poll_reads_every_page_and_the_next_one_goes_on_from_there(
    place: Place, order: dict[str, Any]
) -> None:
    second = {**order, "id": "32", "identifier": [{**order["identifier"][0], "value": "FW-32"}]}
    place.there["ServiceRequest?page=2"] = _page(_version(second, "1", "2026-11-23T08:30:00Z"))
    place.there["ServiceRequest?category"] = _page(
        _version(order, "1", "2026-11-23T08:00:00Z"),
        following="https://ehr.example/fhir/ServiceRequest?page=2",
    )
    place.owe(ErrandKind.POLL)
    place.work()
    assert place.states() == [State.SCHEDULED, State.SCHEDULED]
    assert "category=a%7Cb" in place.asked[0]
    assert "_revinclude=Task:focus" in place.asked[0]
    place.there = {"ServiceRequest?category": _page()}
    place.owe(ErrandKind.POLL)
    place.work()
    assert "_lastUpdated=gt2026-11-23T08%3A29%3A00%2B00%3A00" in place.asked[-1]
    assert place.count() == 2


@pytest.mark.parametrize(
    "answer", [lambda _: httpx.Response(200, json=_page()), lambda _: httpx.Response(503)]
)
def test_a_later_look_begins_where_the_first_one_did(
    place: Place, clock: FakeClock, answer: Callable[[str], httpx.Response]
) -> None:
    place.there["ServiceRequest?"] = answer
    place.owe(ErrandKind.POLL)
    place.work()
    clock.advance(seconds=3 * 24 * 3600)
    place.owe(ErrandKind.POLL)
    place.work()
    moments = {re.search("_lastUpdated=gt([^&]*)", asked) for asked in place.asked}
    assert len({found[1] for found in moments if found}) == 1


_SORTED = "https://ehr.example/fhir/ServiceRequest?category=a%7Cb&_sort=_lastUpdated"
_UNSORTED = "https://ehr.example/fhir/ServiceRequest?category=a%7Cb"


@pytest.mark.parametrize(
    ("own", "times", "goes_on"),
    [
        (_SORTED, ("08:00", "08:30"), True),
        (_UNSORTED, ("08:00", "08:30"), False),
        ("", ("08:00", "08:30"), False),
        (_SORTED, ("08:30", "08:00"), False),  # it says so, and does not
    ],
)
def test_a_poll_that_breaks_off_goes_on_only_where_the_pages_are_sorted(
    place: Place, order: dict[str, Any], own: str, times: tuple[str, str], goes_on: bool
) -> None:
    one, other = (
        _version({**order, "id": f"3{at[1:].replace(':', '')}"}, "1", f"2026-11-23T{at}:00Z") for at in times
    )
    place.there["ServiceRequest?page=2"] = lambda _: httpx.Response(503)
    place.there["ServiceRequest?category"] = _page(
        one, other, own=own, following="https://ehr.example/fhir/ServiceRequest?page=2"
    )
    place.owe(ErrandKind.POLL)
    place.work()
    first = place.asked[0]
    place.asked.clear()
    place.owe(ErrandKind.POLL)
    place.work()
    assert ("_lastUpdated=gt2026-11-23T08%3A29" in place.asked[0]) is goes_on
    assert (place.asked[0] == first) is not goes_on


def test_a_cancel_that_was_missed_is_found(place: Place, order: dict[str, Any]) -> None:
    place.there["ServiceRequest?"] = _page(_version(order, "1", "2026-11-20T09:00:00Z"))
    place.owe(ErrandKind.POLL)
    place.work()
    place.there["ServiceRequest?"] = _page(_version(order, "2", "2026-11-20T09:10:00Z", status="revoked"))
    place.owe(ErrandKind.POLL)
    place.work()
    assert place.states() == [State.CANCELLED]


def test_a_server_that_brings_nothing_along_is_asked_for_the_orders_alone(
    place: Place, order: dict[str, Any]
) -> None:
    def answer(path: str) -> httpx.Response:
        return httpx.Response(400) if "_include" in path else httpx.Response(200, json=_page(order))

    place.there["ServiceRequest?"] = answer
    place.owe(ErrandKind.POLL)
    place.work()
    assert place.states() == [State.SCHEDULED]


def test_a_poll_that_fails_is_told_and_tried_again(place: Place, clock: FakeClock) -> None:
    place.there["ServiceRequest?"] = lambda _: httpx.Response(503)
    follower = Follower(place.ports, {"ehr": Rhythm()})
    follower.start()
    place.work()
    [warning] = follower.warnings
    assert warning.startswith("fhir.sources.ehr.poll: what changed there could not be read")
    assert place.is_owed()
    place.there["ServiceRequest?"] = _page()
    clock.advance(seconds=60 * 1)
    place.work()
    assert (follower.warnings, place.is_owed()) == ((), False)


def _hear(
    place: Place, *numbers: int, kind: str = "event-notification", since: int | None = None, by: str = ""
) -> bool:
    heard = Heard(kind=kind, numbers=numbers, since_start=since, subscription=by)
    with place.ports.database.write() as tx:
        return hear(tx, "ehr", heard, place.ports.clock())


def test_a_gap_in_the_numbers_owes_a_poll(place: Place) -> None:
    assert not _hear(place, 5)
    assert not _hear(place, 6, 7)
    assert not _hear(place, kind="heartbeat", since=7)
    assert not place.is_owed()
    assert _hear(place, 9)
    assert place.is_owed()


def test_each_subscription_of_a_source_counts_for_itself(place: Place) -> None:
    one, other = "Subscription/a", f"https://ehr.example/fhir/Subscription/{'b' * 3000}"
    assert not _hear(place, 1, by=one)
    assert not _hear(place, 7, by=other)
    assert not _hear(place, 2, by=one)
    assert not _hear(place, 8, by=other)
    assert not place.is_owed()
    assert not _hear(place, 9, by=other)
    assert _hear(place, 4, by=one)
    assert place.is_owed()


@pytest.mark.parametrize(("kind", "since", "is_gap"), [("heartbeat", 4, True), ("handshake", 0, False)])
def test_a_heartbeat_tells_of_a_gap_and_a_handshake_begins_anew(
    place: Place, kind: str, since: int, is_gap: bool
) -> None:
    _hear(place, 3)
    assert _hear(place, kind=kind, since=since) is is_gap
    assert not _hear(place, since + 1)


def test_silence_is_told_and_owes_one_poll(place: Place, clock: FakeClock) -> None:
    follower = Follower(place.ports, {"ehr": Rhythm(heartbeat=timedelta(seconds=60))})
    _hear(place, kind="heartbeat", since=1)
    clock.advance(seconds=119)
    follower.look()
    assert (follower.warnings, place.is_owed()) == ((), False)
    clock.advance(seconds=2)
    follower.look()
    assert (len(follower.warnings), place.is_owed()) == (1, True)
    place.there["ServiceRequest?"] = _page()
    place.work()
    follower.look()
    assert not place.is_owed()


def test_a_source_is_polled_at_times(place: Place, clock: FakeClock) -> None:
    follower = Follower(place.ports, {"ehr": Rhythm(every=timedelta(minutes=10))})
    follower.look()
    place.there["ServiceRequest?"] = _page()
    assert place.work() == 1
    clock.advance(seconds=60 * 9)
    follower.look()
    assert not place.is_owed()
    clock.advance(seconds=60 * 1)
    follower.look()
    assert place.is_owed()


def test_the_cursor_never_goes_back(place: Place) -> None:
    later, earlier = (datetime(2026, 11, 20, hour, tzinfo=UTC) for hour in (9, 8))
    reached(place.ports, "ehr", later, is_done=True)
    reached(place.ports, "ehr", earlier, is_done=True)
    with place.ports.database.read() as tx:
        assert following.of(tx, "ehr").cursor == later
