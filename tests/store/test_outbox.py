from datetime import UTC, datetime, timedelta

import pytest

from gateway.model.delivery import Delivery, DeliveryState, Outgoing
from gateway.model.errors import Conflict
from gateway.model.ids import DeliveryId
from gateway.store import outbox
from gateway.store.database import Database

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
LEASE = timedelta(minutes=2)


def _owe(database: Database, key: str = "1.2", payload: bytes = b"{}") -> DeliveryId:
    with database.write() as tx:
        out = Outgoing(destination="ehr", kind="ImagingStudy", key=key, order_id=None, payload=payload)
        return outbox.add(tx, out, NOW)


def _claim(database: Database, at: datetime = NOW) -> Delivery | None:
    with database.write() as tx:
        return next(iter(outbox.claim(tx, at, LEASE)), None)


def _show(database: Database, delivery_id: DeliveryId) -> Delivery:
    with database.read() as tx:
        return outbox.show(tx, delivery_id)


def test_what_is_owed_is_claimed_once(database: Database) -> None:
    owed = _owe(database)
    claimed = _claim(database)
    assert claimed is not None
    assert (claimed.id, claimed.state, claimed.attempts) == (owed, DeliveryState.SENDING, 1)
    assert _claim(database) is None


def test_a_worker_that_died_gives_its_work_back_when_the_lease_ends(database: Database) -> None:
    owed = _owe(database)
    _claim(database)
    assert _claim(database, NOW + LEASE - timedelta(seconds=1)) is None
    again = _claim(database, NOW + LEASE)
    assert again is not None
    assert (again.id, again.attempts) == (owed, 2)


def test_a_worker_that_lost_its_lease_settles_nothing(database: Database) -> None:
    owed = _owe(database)
    late = _claim(database)
    _claim(database, NOW + LEASE)
    assert late is not None
    with database.write() as tx:
        outbox.settle(tx, late, DeliveryState.DEAD, at=NOW, error="late")
    assert _show(database, owed).state is DeliveryState.SENDING


def test_a_newer_state_takes_the_place_of_one_that_has_not_left(database: Database) -> None:
    first = _owe(database, payload=b"1")
    second = _owe(database, payload=b"2")
    other = _owe(database, key="9.9")
    assert _show(database, first).state is DeliveryState.SUPERSEDED
    claimed = [_claim(database), _claim(database)]
    assert {delivery.id for delivery in claimed if delivery} == {second, other}


def test_a_newer_state_waits_until_the_older_one_has_left(database: Database) -> None:
    first = _owe(database, payload=b"1")
    sending = _claim(database)
    second = _owe(database, payload=b"2")
    assert _claim(database) is None
    assert sending is not None
    with database.write() as tx:
        outbox.settle(tx, sending, DeliveryState.DELIVERED, at=NOW)
    claimed = _claim(database)
    assert claimed is not None
    assert (sending.id, claimed.id) == (first, second)


def test_a_failed_delivery_with_a_newer_state_behind_it_is_not_tried_again(database: Database) -> None:
    first = _owe(database, payload=b"1")
    sending = _claim(database)
    _owe(database, payload=b"2")
    assert sending is not None
    with database.write() as tx:
        outbox.settle(tx, sending, DeliveryState.PENDING, at=NOW, next_at=NOW, error="503")
    assert _show(database, first).state is DeliveryState.SUPERSEDED


def test_a_dead_delivery_can_be_sent_again_by_hand(database: Database) -> None:
    owed = _owe(database)
    claimed = _claim(database)
    assert claimed is not None
    with database.write() as tx:
        outbox.settle(tx, claimed, DeliveryState.DEAD, at=NOW, error="422")
    assert _claim(database, NOW + timedelta(days=9)) is None
    with database.write() as tx:
        outbox.requeue(tx, owed, NOW)
    again = _claim(database)
    assert again is not None
    assert again.id == owed


def test_several_are_claimed_at_once_but_of_one_thing_only_one(each_database: Database) -> None:
    for key in ("1", "2", "3"):
        _owe(each_database, key=key)
    with each_database.write() as tx:
        first = outbox.claim(tx, NOW, LEASE, to="ehr", limit=2)
        rest = outbox.claim(tx, NOW, LEASE, to="ehr", limit=2)
    assert [len(first), len(rest)] == [2, 1]
    assert {one.key for one in (*first, *rest)} == {"1", "2", "3"}


def test_what_was_given_up_is_not_sent_after_newer_news(each_database: Database) -> None:
    old = _owe(each_database)
    with each_database.write() as tx:
        (claimed,) = outbox.claim(tx, NOW, LEASE)
        outbox.settle(tx, claimed, DeliveryState.DEAD, at=NOW, error="422")
    _owe(each_database)
    with pytest.raises(Conflict, match="newer news"), each_database.write() as tx:
        outbox.requeue(tx, old, NOW)


def test_two_states_of_one_thing_never_leave_together(each_database: Database) -> None:
    old = _owe(each_database)
    _claim(each_database)
    newer = _owe(each_database)
    with each_database.write() as tx:
        again = outbox.claim(tx, NOW + LEASE, LEASE, limit=9)
    assert [one.id for one in again] == [old]
    with each_database.read() as tx:
        assert outbox.show(tx, newer).state is DeliveryState.PENDING
        assert outbox.is_owed(tx, "ehr", "ImagingStudy", "1.2")
        assert not outbox.is_owed(tx, "ehr", "ImagingStudy", "9.9")


def _event(database: Database, kind: str) -> DeliveryId:
    with database.write() as tx:
        out = Outgoing(
            destination="ris", kind=kind, key="order:1", order_id=None, payload=b"MSH", in_turn=True
        )
        return outbox.add(tx, out, NOW)


def _leave(database: Database, state: DeliveryState) -> DeliveryId:
    with database.write() as tx:
        (claimed,) = outbox.claim(tx, NOW, LEASE, to="ris")
        outbox.settle(tx, claimed, state, at=NOW)
        return claimed.id


def _requeue(database: Database, delivery_id: DeliveryId, at: datetime = NOW) -> None:
    with database.write() as tx:
        outbox.requeue(tx, delivery_id, at)


def test_an_event_is_not_sent_again_behind_a_newer_one(each_database: Database) -> None:
    started, completed = _event(each_database, "ORM^O01 IP"), _event(each_database, "ORM^O01 CM")
    assert _leave(each_database, DeliveryState.DEAD) == started
    assert _leave(each_database, DeliveryState.DELIVERED) == completed
    with pytest.raises(Conflict, match="newer news of the same was sent already"):
        _requeue(each_database, started)
    _requeue(each_database, completed)  # the newest may be sent as often as one likes
    assert _leave(each_database, DeliveryState.DELIVERED) == completed


def test_an_event_is_sent_again_before_a_newer_one_that_has_not_left(each_database: Database) -> None:
    started, completed = _event(each_database, "ORM^O01 IP"), _event(each_database, "ORM^O01 CM")
    _leave(each_database, DeliveryState.DEAD)
    _requeue(each_database, started)
    assert _leave(each_database, DeliveryState.DELIVERED) == started
    assert _leave(each_database, DeliveryState.DELIVERED) == completed


@pytest.mark.parametrize("kinds", [("ORU^R01", "ORM^O01 CM"), ("Task accepted", "Task in-progress")])
def test_news_that_undoes_nothing_is_sent_again(each_database: Database, kinds: tuple[str, str]) -> None:
    dead, _ = (_event(each_database, kind) for kind in kinds)
    _leave(each_database, DeliveryState.DEAD)
    _leave(each_database, DeliveryState.DELIVERED)
    _requeue(each_database, dead)
    assert _leave(each_database, DeliveryState.DELIVERED) == dead


def test_what_is_being_sent_is_not_sent_a_second_time_by_hand(each_database: Database) -> None:
    started = _event(each_database, "ORM^O01 IP")
    with each_database.write() as tx:
        outbox.claim(tx, NOW, LEASE)
    with pytest.raises(Conflict, match="being sent at this moment"):
        _requeue(each_database, started)
    _requeue(each_database, started, NOW + LEASE)  # its worker died
    assert _show(each_database, started).state is DeliveryState.PENDING


def test_an_event_does_not_overtake_a_newer_one_that_is_being_sent(each_database: Database) -> None:
    started, _ = _event(each_database, "ORM^O01 IP"), _event(each_database, "ORM^O01 CM")
    _leave(each_database, DeliveryState.DEAD)
    with each_database.write() as tx:
        outbox.claim(tx, NOW, LEASE)
    with pytest.raises(Conflict, match="newer news of the same was sent already"):
        _requeue(each_database, started)
