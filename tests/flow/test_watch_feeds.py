from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from gateway.flow.ports import Ports
from gateway.flow.watch_feeds import Feed, Limits, Watcher
from gateway.model.hours import read_hours
from gateway.model.message import MessageState
from gateway.model.order import Order
from gateway.store import inbox
from tests.conftest import FakeClock

HOUR = 3600
QUIET = Feed(name="ris", quiet_after=timedelta(minutes=30), hours=read_hours("Mon-Fri 07:00-19:00"))


@pytest.fixture
def quiet_for(ports: Ports) -> Callable[[], timedelta | None]:
    watcher = Watcher(ports, [QUIET])
    return lambda: watcher.standing().feeds[0].quiet_for


def test_a_feed_is_quiet_when_its_last_message_is_too_long_ago(
    clock: FakeClock, order_factory: Callable[..., Order], quiet_for: Callable[[], timedelta | None]
) -> None:
    order_factory()
    clock.advance(seconds=30 * 60)
    assert quiet_for() is None
    clock.advance(seconds=1)
    assert quiet_for() == timedelta(minutes=30, seconds=1)
    order_factory(accession="A2")
    assert quiet_for() is None


def test_the_night_is_no_silence_and_the_morning_begins_anew(
    clock: FakeClock, order_factory: Callable[..., Order], quiet_for: Callable[[], timedelta | None]
) -> None:
    order_factory()  # at 09:00 on a Monday
    clock.advance(seconds=11 * HOUR)
    assert quiet_for() is None
    clock.advance(seconds=11 * HOUR + 30 * 60)  # 07:30 on Tuesday
    assert quiet_for() is None
    clock.advance(seconds=60)
    assert quiet_for() == timedelta(minutes=31)


def test_a_feed_that_never_spoke_is_quiet_some_time_after_the_start(
    clock: FakeClock, quiet_for: Callable[[], timedelta | None]
) -> None:
    assert quiet_for() is None
    clock.advance(seconds=31 * 60)
    assert quiet_for() == timedelta(minutes=31)


def test_a_feed_without_a_limit_may_be_silent(ports: Ports, clock: FakeClock) -> None:
    watcher = Watcher(ports, [Feed(name="ris")])
    clock.advance(seconds=1000 * HOUR)
    assert watcher.standing().feeds[0].quiet_for is None


def test_a_sender_that_connects_again_and_again_is_flapping_until_it_stops(
    ports: Ports, clock: FakeClock
) -> None:
    watcher = Watcher(ports, [Feed(name="ris"), Feed(name="other")], Limits(connects=20))
    for _ in range(40):
        clock.advance(seconds=15)
        ports.tally.count("connections", "ris")
        watcher.look()
    ris, other = watcher.standing().feeds
    assert (ris.is_flapping, other.is_flapping, other.connects) == (True, False, 0)
    for _ in range(40):
        clock.advance(seconds=15)
        watcher.look()
    assert not watcher.standing().feeds[0].is_flapping


def test_connections_of_long_ago_do_not_count(ports: Ports, clock: FakeClock) -> None:
    watcher = Watcher(ports, [Feed(name="ris")])
    for _ in range(30):
        clock.advance(seconds=HOUR)
        ports.tally.count("connections", "ris")
        watcher.look()
    assert watcher.standing().feeds[0].connects <= 1


def test_many_held_messages_are_too_many(ports: Ports, order_factory: Callable[..., Order]) -> None:
    first = order_factory()
    order_factory(accession="A2")
    watcher = Watcher(ports, [], Limits(held=0))
    assert not watcher.standing().is_held_long
    with ports.database.write() as tx:
        inbox.settle(tx, first.message_id, MessageState.HELD, "a doubt", ports.clock())
    standing = watcher.standing()
    assert (standing.figures.held, standing.is_held_long) == (1, True)
    assert standing.figures.listed == 2


def test_the_tally_is_shared_by_copies_of_the_ports(ports: Ports) -> None:
    assert replace(ports, listed=frozenset()).tally is ports.tally
