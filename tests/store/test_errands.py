from datetime import UTC, datetime, timedelta

from gateway.model.errand import ErrandKind, ErrandState, Wanted
from gateway.model.ids import MessageId
from gateway.model.message import Inbound, Keys, MessageState, Protocol
from gateway.model.search import Found
from gateway.store import errands, inbox
from gateway.store.database import Database, Tx

AT = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
LEASE = timedelta(minutes=2)
READ = Wanted(kind=ErrandKind.READ, target="Patient/7", field="ServiceRequest.subject")
POLL = Wanted(kind=ErrandKind.POLL)


def message(tx: Tx) -> MessageId:
    return inbox.add(
        tx,
        Inbound(protocol=Protocol.FHIR, source="ehr", peer="", raw=b"{}"),
        sha256="0" * 64,
        at=AT,
        keys=Keys(),
        state=MessageState.RECEIVED,
        reason="",
        module="",
        found=Found(),
    )


def test_an_errand_is_claimed_once_and_again_when_its_lease_ran_out(database: Database) -> None:
    with database.write() as tx:
        errands.add(tx, "ehr", READ, AT, message_id=message(tx))
        [first] = errands.claim(tx, "ehr", AT, LEASE, limit=4)
        assert (first.attempts, first.target, first.field) == (1, "Patient/7", "ServiceRequest.subject")
        assert errands.claim(tx, "ehr", AT, LEASE, limit=4) == ()
        [second] = errands.claim(tx, "ehr", AT + LEASE, LEASE, limit=4)
        errands.finish(tx, first, AT)  # the one whose lease was lost has no say
        assert errands.is_waited_for(tx, MessageId(1))
        errands.finish(tx, second, AT)
        assert not errands.is_waited_for(tx, MessageId(1))
        assert errands.claim(tx, "ehr", AT + 3 * LEASE, LEASE) == ()


def test_an_errand_of_another_source_is_not_claimed(database: Database) -> None:
    with database.write() as tx:
        errands.add(tx, "other", POLL, AT)
        assert errands.claim(tx, "ehr", AT, LEASE) == ()
        assert len(errands.claim(tx, "other", AT, LEASE)) == 1


def test_the_same_reading_for_the_same_message_is_one_errand(database: Database) -> None:
    with database.write() as tx:
        one, two = message(tx), message(tx)
        first = errands.add(tx, "ehr", READ, AT, message_id=one)
        assert errands.add(tx, "ehr", READ, AT, message_id=one) == first
        assert errands.add(tx, "ehr", READ, AT, message_id=two) != first


def test_a_poll_that_waits_does_for_another_but_one_that_runs_does_not(database: Database) -> None:
    with database.write() as tx:
        first = errands.add(tx, "ehr", POLL, AT)
        assert errands.add(tx, "ehr", POLL, AT) == first
        [running] = errands.claim(tx, "ehr", AT, LEASE, limit=4)
        second = errands.add(tx, "ehr", POLL, AT)
        assert second != first
        assert errands.claim(tx, "ehr", AT, LEASE, limit=4) == ()  # never two side by side
        errands.finish(tx, running, AT)
        assert [errand.id for errand in errands.claim(tx, "ehr", AT, LEASE, limit=4)] == [second]


def test_what_was_postponed_is_due_later_and_what_was_given_up_never(database: Database) -> None:
    with database.write() as tx:
        own = message(tx)
        errands.add(tx, "ehr", READ, AT, message_id=own)
        [claimed] = errands.claim(tx, "ehr", AT, LEASE)
        errands.postpone(tx, claimed, AT + timedelta(seconds=30), "answered 503")
        assert errands.claim(tx, "ehr", AT, LEASE) == ()
        [claimed] = errands.claim(tx, "ehr", AT + timedelta(seconds=30), LEASE)
        assert claimed.attempts == 2
        errands.give_up(tx, claimed, AT, "answered 404")
        assert errands.claim(tx, "ehr", AT + timedelta(days=1), LEASE) == ()
        [kept] = errands.of_message(tx, own)
        assert (kept.state, kept.error) == (ErrandState.FAILED, "answered 404")
        assert errands.forget_done(tx, AT + timedelta(days=1)) == 1
        assert errands.of_message(tx, own) == ()
