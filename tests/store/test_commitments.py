from datetime import UTC, datetime, timedelta

from gateway.model.commitment import CommitmentState, Reference, Request
from gateway.model.ids import Uid
from gateway.store import commitments
from gateway.store.database import Database

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
LEASE = timedelta(minutes=1)
REQUEST = Request(
    peer="US1", address="10.1.2.3", transaction_uid=Uid("2.25.1"),
    references=(Reference(sop_class=Uid("1.2.3"), sop_uid=Uid("1.2.3.1")),),
)  # fmt: skip


def test_what_was_asked_is_read_back(database: Database) -> None:
    with database.write() as tx:
        made = commitments.add(tx, REQUEST, is_reused=False, at=NOW)
    with database.read() as tx:
        found = commitments.of_transaction(tx, "US1", Uid("2.25.1"))
        assert commitments.of_transaction(tx, "US2", Uid("2.25.1")) is None
        assert commitments.kept(tx, (Uid("1.2.3.1"),)) == {}
    assert found is not None
    assert (found.id, found.request, found.state) == (made, REQUEST, CommitmentState.PENDING)


def test_a_claim_is_a_lease_and_a_lost_one_settles_nothing(database: Database) -> None:
    with database.write() as tx:
        commitments.add(tx, REQUEST, is_reused=False, at=NOW)
    with database.write() as tx:
        first = commitments.claim(tx, NOW, LEASE)
        assert commitments.claim(tx, NOW, LEASE) is None
    with database.write() as tx:
        second = commitments.claim(tx, NOW + LEASE, LEASE)
    assert first is not None
    assert second is not None
    with database.write() as tx:
        commitments.settle(tx, first, CommitmentState.DEAD, at=NOW, next_at=NOW)
        assert commitments.show(tx, first.id).state is CommitmentState.TELLING
        commitments.settle(tx, second, CommitmentState.TOLD, at=NOW, next_at=NOW)
        assert commitments.show(tx, first.id).told_at == NOW
