"""Merges of patients from real ADT texts: what moves, what waits, and how a person takes them back."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from gateway.flow.complete import complete_quiet
from gateway.flow.keep import keep
from gateway.flow.ports import Ports
from gateway.flow.receive import Answered
from gateway.flow.unmerge import hindrance, unmerge
from gateway.model.delivery import Outgoing
from gateway.model.errors import Conflict, NotFound
from gateway.model.ids import MergeId, Uid
from gateway.model.lifecycle import State
from gateway.model.merge import Merge
from gateway.model.message import MessageState
from gateway.model.order import Order
from gateway.model.study import Received, Study
from gateway.store import merges, orders, outbox, patients, studies

if TYPE_CHECKING:
    from tests.flow.conftest import Feed

Make = Callable[..., Order]
OBJECT = Received(
    sop_uid=Uid("1.2.3.1.1"), sop_class=Uid("1.2.840.10008.5.1.4.1.1.6.1"), series_uid=Uid("1.2.3.1"),
    study_uid=Uid("1.2.3"), transfer_syntax=Uid("1.2.840.10008.1.2.1"), modality="US", patient_id="A", issuer="",
    patient_name="Doe^Jane", birth_date="19800214", sex="F", accession="A1", study_id="", study_date="20261123",
    study_time="101500", zone_offset="", study_description="", series_number="1", series_description="",
    instance_number="1", frames=1, calling_ae="US1",
)  # fmt: skip


def _merge(
    feed: "Feed", prior: str, survivor: str, *, event: str = "A40", name: str = "DOE^JANE", sent_at: str = ""
) -> Answered:
    mrg = f"MRG||||{prior}" if event == "A18" else f"MRG|{prior}"
    return feed.send(f"ADT^{event}", f"PID|1||{survivor}||{name}", mrg, sent_at=sent_at)


def _order(feed: "Feed", patient_id: str, number: str = "1", name: str = "DOE^JANE") -> Answered:
    obr = f"OBR|1|P{number}|F{number}|US^Abdomen^L||||||||||||||ACC{number}||||||US|||^^^20261123103000"
    pid = f"PID|1||{patient_id}||{name}||19800214|F"
    return feed.send("ORM^O01", pid, f"ORC|NW|P{number}|F{number}", obr)


def _whose(feed: "Feed") -> list[str]:
    return [order.patient.patient_id for order in feed.orders()]


def _merges(ports: Ports) -> tuple[Merge, ...]:
    with ports.database.read() as tx:
        return tuple(reversed(merges.newest(tx)))


def _undo(ports: Ports, number: int = 1) -> Merge:
    return unmerge(ports, MergeId(number), actor="user:anna")


def _keep(ports: Ports, received: Received) -> Study:
    written = ports.files.incoming / f"{received.sop_uid}.part"
    written.write_bytes(b"image")
    keep(ports, received, written, sha256=str(received.sop_uid), size=5)
    return _study(ports)


def _study(ports: Ports) -> Study:
    with ports.database.read() as tx:
        found = studies.of_uid(tx, Uid("1.2.3"))
    assert found is not None
    return found


def _news(study: Study, found: tuple[Order, ...]) -> tuple[Outgoing, ...]:
    whose = found[0].patient.patient_id if found else ""
    return (
        Outgoing(destination="ehr", kind="S", key=study.study_uid, order_id=None, payload=whose.encode()),
    )


@pytest.mark.parametrize("event", ["A18", "A30", "A34", "A36", "A39", "A40", "A46", "A47"])
def test_a_merge_moves_the_orders_of_the_patient_who_is_given_up(
    feed: "Feed", ports: Ports, event: str
) -> None:
    _order(feed, "A")
    _order(feed, "B", "2")
    assert _merge(feed, "A", "B", event=event).state is MessageState.MAPPED
    assert [(o.patient.patient_id, o.attributes["PatientID"]) for o in feed.orders()] == [("B", "B")] * 2
    (merge,) = _merges(ports)
    assert (merge.prior.patient_id, merge.survivor.patient_id) == ("A", "B")
    assert merge.moved.orders == (feed.orders()[0].id,)
    assert feed.deeds(f"order:{feed.orders()[0].id}") == ["order.scheduled", "order.merge"]
    assert feed.deeds(f"order:{feed.orders()[1].id}") == ["order.scheduled"]
    assert feed.deeds(f"patient:{merge.prior_row}") == ["patient.merge"]


@pytest.mark.parametrize(("event", "prior"), [("A43", "B"), ("A43", "A"), ("A44", "A")])
def test_what_moves_between_two_patients_merges_them_not_and_is_held_for_a_person(
    feed: "Feed", ports: Ports, event: str, prior: str
) -> None:
    _order(feed, "A", name="ROE^RITA")
    _order(feed, "B", "2")
    before = feed.orders()
    answered = _merge(feed, prior, "B", event=event, name="SMITH^JANE")
    assert answered.state is MessageState.HELD
    assert "person" in feed.reason(answered)
    assert (feed.orders(), _merges(ports)) == (before, ())
    _order(feed, "A", "3", name="ROE^RITA")
    assert _whose(feed) == ["A", "B", "A"]


def test_a_changed_identifier_is_the_same_patient_under_a_new_one(feed: "Feed", ports: Ports) -> None:
    _order(feed, "A^^^H")
    feed.send("ADT^A47", "PID|1||N^^^H||DOE^JANE", "MRG|A^^^H")
    (order,) = feed.orders()
    assert (order.patient.patient_id, order.patient.issuer) == ("N", "H")
    assert (order.patient.birth_date, order.attributes["PatientBirthDate"]) == ("19800214", "19800214")
    assert order.attributes["IssuerOfPatientID"] == "H"


def test_the_survivors_new_name_reaches_all_his_orders(feed: "Feed") -> None:
    _order(feed, "A")
    _order(feed, "B", "2")
    _merge(feed, "A", "B", name="SMITH^JANE")
    found = [(order.patient.name, order.attributes["PatientName"]) for order in feed.orders()]
    assert found == [("SMITH^JANE", "SMITH^JANE")] * 2


def test_what_still_names_the_prior_patient_goes_to_the_survivor_along_the_chain(
    feed: "Feed", ports: Ports
) -> None:
    _order(feed, "A")
    _merge(feed, "A", "B")
    _merge(feed, "B", "C", name="ROE^RITA")
    _order(feed, "A", "2", name="OLD^NAME")
    assert [(o.patient.patient_id, o.patient.name, o.attributes["PatientID"]) for o in feed.orders()] == [
        ("C", "ROE^RITA", "C")
    ] * 2
    assert feed.deeds(f"order:{feed.orders()[1].id}") == ["order.scheduled", "order.redirect"]
    assert _order(feed, "B", "1").state is MessageState.MAPPED  # no other patient than the order has
    assert [order.state for order in feed.orders()] == [State.SCHEDULED] * 2
    feed.send("ADT^A10", "PID|1||A||ROE^RITA")
    assert all(order.arrived_at for order in feed.orders())


@pytest.mark.parametrize(
    ("sent_at", "arrived"),
    [
        ("20261123080000", [False, True]),
        ("20261122233000", [True, False]),  # late: of yesterday's patient
        ("20261124003000", [False, True]),  # a clock that is ahead
        ("", [False, True]),
    ],
)
def test_an_arrival_is_of_the_day_on_which_it_was_sent(
    feed: "Feed", ports: Ports, sent_at: str, arrived: list[bool]
) -> None:
    for number, day in (("1", "22"), ("2", "23")):
        obr = (
            f"OBR|1|P{number}|F{number}|US^Abdomen^L||||||||||||||ACC{number}||||||US|||^^^202611{day}103000"
        )
        feed.send("ORM^O01", "PID|1||A||DOE^JANE", f"ORC|NW|P{number}|F{number}", obr)
    feed.send("ADT^A10", "PID|1||A||DOE^JANE", sent_at=sent_at)
    assert [order.arrived_at is not None for order in feed.orders()] == arrived


@pytest.mark.parametrize(
    ("name", "born", "state"),
    [
        ("DOE^JANE", "19800214", MessageState.MAPPED),  # nothing new
        ("DOE^JANE", "", MessageState.MAPPED),
        ("OLD^JANE", "19800214", MessageState.HELD),
        ("DOE^JANE", "19800101", MessageState.HELD),
        ("DOE^JANE", '""', MessageState.HELD),
    ],
)
def test_news_under_the_identifier_that_was_given_up_change_nothing_that_is_known(
    feed: "Feed", name: str, born: str, state: MessageState
) -> None:
    _order(feed, "B")
    _merge(feed, "A", "B")
    answered = feed.send("ADT^A08", f"PID|1||A||{name}||{born}|F")
    assert answered.state is state
    assert ("given up" in feed.reason(answered)) is (state is MessageState.HELD)
    (order,) = feed.orders()
    assert (order.patient.name, order.patient.birth_date) == ("DOE^JANE", "19800214")
    assert order.attributes["PatientBirthDate"] == "19800214"


def test_news_under_the_identifier_that_was_given_up_fill_what_is_not_known(feed: "Feed") -> None:
    obr = "OBR|1|P1|F1|US^Abdomen^L||||||||||||||ACC1||||||US|||^^^20261123103000"
    feed.send("ORM^O01", "PID|1||B||DOE^JANE", "ORC|NW|P1|F1", obr)
    _merge(feed, "A", "B")
    assert feed.send("ADT^A08", "PID|1||A||DOE^JANE||19800214|F").state is MessageState.MAPPED
    assert (
        feed.orders()[0].patient.birth_date == feed.orders()[0].attributes["PatientBirthDate"] == "19800214"
    )


def test_a_merge_of_a_patient_not_known_here_is_kept_for_a_late_order(feed: "Feed", ports: Ports) -> None:
    assert _merge(feed, "A", "B").state is MessageState.MAPPED
    assert not _merges(ports)[0].moved.is_anything
    _order(feed, "A")
    assert _whose(feed) == ["B"]


@pytest.mark.parametrize("survivor", ["A", "A^^^H"])
def test_a_merge_into_oneself_is_nothing(feed: "Feed", ports: Ports, survivor: str) -> None:
    _order(feed, "A")
    answered = _merge(feed, "A", survivor)
    assert answered.state is MessageState.SKIPPED
    assert "the same" in feed.reason(answered)
    assert _merges(ports) == ()


def test_a_merge_told_twice_is_carried_out_once(feed: "Feed", ports: Ports) -> None:
    _order(feed, "A")
    _merge(feed, "A", "B")
    again = _merge(feed, "A", "B")
    assert (again.state, len(_merges(ports))) == (MessageState.SKIPPED, 1)


def test_a_merge_turned_round_ends_at_the_one_named_last(feed: "Feed", ports: Ports) -> None:
    _order(feed, "A")
    _order(feed, "B", "2")
    _merge(feed, "A", "B")
    assert _merge(feed, "B", "A").state is MessageState.MAPPED
    assert _whose(feed) == ["A", "A"]
    _order(feed, "B", "3")
    assert _whose(feed) == ["A", "A", "A"]
    for _ in range(3):  # and to and fro
        _merge(feed, "A", "B")
        assert _whose(feed) == ["B"] * 3
        _merge(feed, "B", "A")
        assert _whose(feed) == ["A"] * 3


def test_a_chain_that_closes_to_a_circle_has_one_survivor(feed: "Feed") -> None:
    _order(feed, "A")
    for prior, survivor in (("A", "B"), ("B", "C"), ("C", "A")):
        _merge(feed, prior, survivor)
        assert _whose(feed) == [survivor]
    for number, patient_id in enumerate("ABC", start=2):
        _order(feed, patient_id, str(number))
    assert _whose(feed) == ["A"] * 4


def test_a_patient_merged_into_two_is_held_for_a_person(feed: "Feed") -> None:
    _order(feed, "A")
    _merge(feed, "A", "B")
    answered = _merge(feed, "A", "C")
    assert (answered.state, _whose(feed)) == (MessageState.HELD, ["B"])
    assert "person" in feed.reason(answered)


@pytest.mark.parametrize(
    ("known", "prior", "survivor"),
    [("A^^^H", "A", "B^^^H"), ("A", "A^^^H", "B^^^H"), ("B", "A", "B^^^H"), ("B^^^H", "A", "B")],
)
def test_an_issuer_left_out_on_one_side_is_held_for_a_person(
    feed: "Feed", ports: Ports, known: str, prior: str, survivor: str
) -> None:
    _order(feed, known)
    before = feed.orders()
    answered = _merge(feed, prior, survivor)
    assert answered.state is MessageState.HELD
    assert "issuer" in feed.reason(answered)
    assert (feed.orders(), _merges(ports)) == (before, ())


def test_orders_under_the_same_identifier_without_an_issuer_are_pointed_at(feed: "Feed") -> None:
    _order(feed, "A^^^H")
    _order(feed, "A", "2")
    answered = _merge(feed, "A^^^H", "B^^^H")
    assert (answered.state, _whose(feed)) == (MessageState.HELD, ["B", "A"])
    assert "not moved" in feed.reason(answered)


def test_an_order_being_examined_keeps_its_patient_until_the_exam_is_over(
    feed: "Feed", ports: Ports, order_factory: Make
) -> None:
    order = order_factory(patient_id="A", study_uid="1.2.3")
    _keep(ports, OBJECT)
    _merge(feed, "A", "B")
    _merge(feed, "B", "C")
    assert (_whose(feed), feed.orders()[0].state) == (["A"], State.STARTED)
    feed.send("ORM^O01", "PID|1||C||DOE^JANE", "ORC|XO", "OBR|1|||||||||||||||||A1||||||US")
    assert (_whose(feed), feed.orders()[0].state) == (["A"], State.STARTED)
    study = _keep(ports, replace(OBJECT, sop_uid=Uid("1.2.3.1.2")))
    assert (study.order_id, study.doubt) == (order.id, "")
    ports.clock.advance(seconds=61)  # type: ignore[attr-defined]
    assert complete_quiet(ports, _news) == 1
    assert (_whose(feed), feed.orders()[0].state) == (["C"], State.COMPLETED)
    with ports.database.read() as tx:
        assert [owed.payload for owed in outbox.newest(tx)] == [b"C"]
    assert (_study(ports).patient_id, _study(ports).doubt) == ("A", "")  # the images stay what they are
    assert [merge.moved.orders for merge in _merges(ports)] == [(order.id,)] * 2
    _undo(ports, 2)
    assert _whose(feed) == ["B"]
    _undo(ports, 1)
    assert _whose(feed) == ["A"]


@pytest.mark.parametrize("study_uid", ["1.2.3", "9.9"])
@pytest.mark.parametrize("patient_id", ["A", "B"])
def test_images_under_either_identifier_are_linked_without_doubt(
    feed: "Feed", ports: Ports, order_factory: Make, study_uid: str, patient_id: str
) -> None:
    order = order_factory(
        patient_id="A", study_uid=study_uid
    )  # found by its study, or by its accession number
    _merge(feed, "A", "B")
    study = _keep(ports, replace(OBJECT, patient_id=patient_id))
    assert (study.order_id, study.doubt) == (order.id, "")
    other = "B" if patient_id == "A" else "A"
    study = _keep(ports, replace(OBJECT, sop_uid=Uid("1.2.3.1.2"), patient_id=other))
    assert (study.order_id, study.doubt) == (order.id, "")
    study = _keep(ports, replace(OBJECT, sop_uid=Uid("1.2.3.1.3"), patient_id="X"))
    assert study_uid == "9.9" or "another patient" in study.doubt


def test_images_that_named_another_patient_find_their_order_when_the_two_are_one(
    feed: "Feed", ports: Ports, order_factory: Make
) -> None:
    order = order_factory(patient_id="B", study_uid="1.2.3")
    before = _keep(ports, OBJECT)
    assert (before.order_id, "another patient" in before.doubt) == (None, True)
    ports.clock.advance(seconds=61)  # type: ignore[attr-defined]
    complete_quiet(ports, _news)
    _merge(feed, "A", "B")
    assert (_study(ports).order_id, _study(ports).doubt) == (order.id, "")
    complete_quiet(ports, _news)
    assert feed.orders()[0].state is State.COMPLETED
    with ports.database.read() as tx:
        assert [owed.payload for owed in outbox.newest(tx)] == [b"B"]
    assert feed.deeds(f"study:{before.id}")[-2:] == ["study.link", "study.complete"]
    _undo(ports)
    assert (_study(ports).order_id, _study(ports).doubt) == (None, before.doubt)
    complete_quiet(ports, _news)
    with ports.database.read() as tx:  # who was told whose it is hears that it is nobody's
        assert next(iter(outbox.newest(tx))).payload == b""


def test_a_merge_undone_gives_back_what_it_moved_and_leaves_what_came_later(
    feed: "Feed", ports: Ports
) -> None:
    _order(feed, "A", name="ROE^RITA")
    _order(feed, "B", "2")
    _merge(feed, "A", "B")
    _order(feed, "A", "3")
    assert _whose(feed) == ["B", "B", "B"]
    undone = _undo(ports)
    assert (undone.undone_by, undone.undone_at) == ("user:anna", ports.clock())
    assert _whose(feed) == ["A", "B", "B"]
    assert feed.orders()[0].attributes["PatientName"] == "ROE^RITA"
    assert feed.deeds(f"order:{feed.orders()[0].id}")[-1] == "order.unmerge"
    _order(feed, "A", "4")
    assert _whose(feed) == ["A", "B", "B", "A"]
    with pytest.raises(Conflict, match="undone already"):
        _undo(ports)
    assert _merge(feed, "A", "B").state is MessageState.MAPPED  # it can be told again


def test_a_merge_is_not_undone_while_a_later_one_rests_on_it(feed: "Feed", ports: Ports) -> None:
    _order(feed, "A")
    _merge(feed, "A", "B")
    _merge(feed, "B", "C")
    with pytest.raises(Conflict, match="undo merge 2 first"):
        _undo(ports, 1)
    _undo(ports, 2)
    assert _whose(feed) == ["B"]
    _undo(ports, 1)
    assert _whose(feed) == ["A"]


def test_a_merge_turned_round_is_undone_step_by_step(feed: "Feed", ports: Ports) -> None:
    _order(feed, "A")
    _merge(feed, "A", "B")
    _merge(feed, "B", "A")
    with pytest.raises(Conflict, match="undo merge 2 first"):
        _undo(ports, 1)
    _undo(ports, 2)
    assert _whose(feed) == ["B"]
    _order(feed, "A", "2")
    assert _whose(feed) == ["B", "B"]
    _undo(ports, 1)
    assert _whose(feed) == ["A", "B"]


def test_a_merge_is_not_undone_while_an_order_of_it_is_examined(
    feed: "Feed", ports: Ports, order_factory: Make
) -> None:
    order_factory(patient_id="A", study_uid="1.2.3")
    _merge(feed, "A", "B")
    _keep(ports, replace(OBJECT, patient_id="B"))
    with pytest.raises(Conflict, match="being examined"):
        _undo(ports)
    with ports.database.read() as tx:
        assert "when the exam is over" in hindrance(tx, merges.show(tx, MergeId(1)))
    with pytest.raises(NotFound):
        _undo(ports, 9)
    assert _whose(feed) == ["B"]


def test_an_older_name_in_a_merge_message_changes_nothing(feed: "Feed", ports: Ports) -> None:
    _order(feed, "A")
    _order(feed, "B", "2")
    feed.send("ADT^A08", "PID|1||B||SMITH^JANE", sent_at="20261123090000")
    _merge(feed, "A", "B", name="OLD^NAME", sent_at="20261123080000")
    assert {(order.patient.patient_id, order.patient.name) for order in feed.orders()} == {
        ("B", "SMITH^JANE")
    }


def test_a_circle_in_the_rows_is_survived(ports: Ports, order_factory: Make) -> None:
    one, two = order_factory(patient_id="A"), order_factory(patient_id="B")
    with ports.database.write() as tx:
        patients.merge_into(tx, one.patient_row, two.patient_row, ports.clock())
        patients.merge_into(tx, two.patient_row, one.patient_row, ports.clock())
        assert patients.survivor(tx, patients.of_row(tx, one.patient_row)).row == two.patient_row


def test_a_cancelled_order_moves_too(feed: "Feed", ports: Ports, order_factory: Make) -> None:
    order = order_factory(patient_id="A", state=State.CANCELLED)
    _merge(feed, "A", "B")
    with ports.database.read() as tx:
        assert orders.show(tx, order.id).patient.patient_id == "B"


def test_the_address_of_who_was_given_up_is_not_the_survivors(
    feed: "Feed", ports: Ports, order_factory: Make
) -> None:
    order_factory(patient_id="A", subject="Patient/7")
    order_factory(patient_id="B", subject="Patient/8")
    _merge(feed, "A", "B", name="SMITH^JANE")
    found = [(order.patient.patient_id, order.patient.name, order.subject) for order in feed.orders()]
    assert found == [("B", "SMITH^JANE", ""), ("B", "SMITH^JANE", "Patient/8")]
    _undo(ports)
    assert [(order.patient.patient_id, order.subject) for order in feed.orders()] == [
        ("A", ""),
        ("B", "Patient/8"),
    ]
