import json
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from starlette.applications import Starlette

from gateway.flow import admit
from gateway.flow.ports import Ports
from gateway.model.order import Order
from gateway.model.user import Role
from gateway.store import changes
from gateway.web import live

if TYPE_CHECKING:
    from tests.web.conftest import OpenStream

pytestmark = pytest.mark.anyio

Orders = Callable[..., Order]


def newest(ports: Ports) -> int:
    with ports.database.read() as tx:
        return changes.latest(tx)


async def test_a_change_is_told_with_its_number_and_topic(
    ports: Ports, token: Callable[[Role], str], order_factory: Orders, open_stream: "OpenStream"
) -> None:
    session = token(Role.VIEWER)
    async with open_stream(f"/events?after={newest(ports)}", session) as stream:
        await stream.arrived.get()  # the opening comment: the stream listens
        order_factory(name="Secret^Sue")
        event = await stream.next()
    assert stream.headers["content-type"].startswith("text/event-stream")
    assert event is not None
    assert (event["event"], event["id"]) == ("change", str(newest(ports)))
    assert json.loads(event["data"]) == {"topics": ["message", "order"]}


async def test_who_missed_something_is_told_at_once(
    ports: Ports, token: Callable[[Role], str], order_factory: Orders, open_stream: "OpenStream"
) -> None:
    session, before = token(Role.VIEWER), newest(ports)
    order_factory()
    async with open_stream("/events?after=999", session, last_event_id=str(before)) as stream:
        event = await stream.next()
    assert event is not None
    assert event["id"] == str(newest(ports))


async def test_every_open_page_is_told(
    ports: Ports, token: Callable[[Role], str], order_factory: Orders, open_stream: "OpenStream"
) -> None:
    first, second = token(Role.VIEWER), token(Role.ADMIN)
    path = f"/events?after={newest(ports)}"
    async with open_stream(path, first) as one, open_stream(path, second) as two:
        for stream in (one, two):
            await stream.arrived.get()
        order_factory()
        events = [await stream.next() for stream in (one, two)]
    assert [event and event["event"] for event in events] == ["change", "change"]


async def test_a_session_that_ends_ends_the_stream(
    ports: Ports,
    token: Callable[[Role], str],
    open_stream: "OpenStream",
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(live, "RECHECK_S", 0.05)
    session = token(Role.VIEWER)
    async with open_stream("/events", session) as stream:
        await stream.arrived.get()
        admit.log_out(ports, session)
        event = await stream.next()
        assert event is not None
        assert event["event"] == "ended"
        assert await stream.next() is None


async def test_streams_end_when_the_gateway_stops(
    app: Starlette, token: Callable[[Role], str], open_stream: "OpenStream"
) -> None:
    async with open_stream("/events", token(Role.VIEWER)) as stream:
        await stream.arrived.get()
        app.state.end_streams()
        assert await stream.next() is None


async def test_a_stranger_hears_nothing(
    ports: Ports, token: Callable[[Role], str], open_stream: "OpenStream"
) -> None:
    token(Role.VIEWER)
    async with open_stream("/events", "made-up") as stream:
        assert await stream.arrived.get() == b""
    assert stream.status == 303
