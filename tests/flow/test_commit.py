"""What machines asked to be committed to is durable and told until they know."""

from datetime import timedelta

import pytest

from gateway.flow.commit import TRIED_FOR, report_due, request_commitment
from gateway.flow.ports import Ports
from gateway.model.commitment import Commitment, CommitmentState, Failure, Reference, Report, Request
from gateway.model.errors import Unavailable
from gateway.model.ids import Uid
from gateway.store import commitments

ONE = Reference(sop_class=Uid("1.2.3"), sop_uid=Uid("1.2.3.1"))
TWO = Reference(sop_class=Uid("1.2.3"), sop_uid=Uid("1.2.3.2"))


def _request(*references: Reference, peer: str = "US1") -> Request:
    return Request(
        peer=peer, address="10.1.2.3", transaction_uid=Uid("2.25.1"), references=references or (ONE,)
    )


def _all(ports: Ports) -> tuple[Commitment, ...]:
    with ports.database.read() as tx:
        return commitments.newest(tx)


def _away(report: Report) -> None:
    raise Unavailable("nobody there")


def test_a_request_is_told_once(ports: Ports) -> None:
    told: list[Report] = []
    request_commitment(ports, _request())
    assert report_due(ports, told.append) == 1
    assert report_due(ports, told.append) == 0
    assert told == [Report(request=_request(), kept=(), failed=((ONE, Failure.ABSENT),))]
    assert [one.state for one in _all(ports)] == [CommitmentState.TOLD]


def test_a_machine_that_is_away_is_tried_less_and_less_often_and_then_no_more(
    ports: Ports, clock: object
) -> None:
    request_commitment(ports, _request())
    waits: list[timedelta] = []
    for _ in range(3):
        report_due(ports, _away)
        (one,) = _all(ports)
        waits.append(one.next_at - ports.clock())
        clock.advance(seconds=waits[-1].total_seconds())  # type: ignore[attr-defined]
    assert waits == sorted(waits)
    assert waits[0] >= timedelta(seconds=4)
    assert [(one.state, one.error) for one in _all(ports)] == [(CommitmentState.PENDING, "nobody there")]
    clock.advance(seconds=TRIED_FOR.total_seconds())  # type: ignore[attr-defined]
    report_due(ports, _away)
    assert [one.state for one in _all(ports)] == [CommitmentState.DEAD]
    assert report_due(ports, _away) == 0


def test_a_worker_that_dies_gives_its_work_back(ports: Ports, clock: object) -> None:
    def die(report: Report) -> None:
        raise KeyboardInterrupt

    request_commitment(ports, _request())
    with pytest.raises(KeyboardInterrupt):
        report_due(ports, die)
    told: list[Report] = []
    assert report_due(ports, told.append) == 0
    clock.advance(seconds=400)  # type: ignore[attr-defined]
    assert report_due(ports, told.append) == 1


def test_the_same_request_again_is_the_same_one_and_told_again(ports: Ports) -> None:
    told: list[Report] = []
    first = request_commitment(ports, _request(ONE, TWO))
    report_due(ports, told.append)
    assert request_commitment(ports, _request(TWO, ONE)) == first
    report_due(ports, told.append)
    assert len(told) == 2
    assert len(_all(ports)) == 1


def test_a_transaction_uid_used_for_other_objects_fails_and_leaves_the_first_alone(ports: Ports) -> None:
    told: list[Report] = []
    request_commitment(ports, _request(ONE))
    request_commitment(ports, _request(TWO))
    request_commitment(ports, _request(TWO, peer="US2"))
    report_due(ports, told.append)
    assert [report.failed for report in told] == [
        ((ONE, Failure.ABSENT),),
        ((TWO, Failure.REUSED),),
        ((TWO, Failure.ABSENT),),
    ]
