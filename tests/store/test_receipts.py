from collections.abc import Callable
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select

from gateway.flow.ports import Ports
from gateway.model.ids import OrderId
from gateway.model.order import Order
from gateway.model.receipt import Asker, Cause, Ending, LeftOut, Receipt
from gateway.model.worklist import Match, Range, WorklistQuery
from gateway.store import receipts
from gateway.store.machine_tables import receipts as table

Make = Callable[..., Order]
NOW = datetime(2026, 11, 23, 10, 42, tzinfo=UTC)
ASKER = Asker(
    calling_ae="US1",
    called_ae="STORESCP",
    address="10.0.0.7",
    implementation_uid="1.2.3",
    implementation_version="V1",
)
EVERY_KEY = WorklistQuery(
    patient_name=Match(values=("DOE*",), is_wild=True, ignore_case=True),
    is_fuzzy=True,
    patient_id=Match(values=("1", "2")),
    issuer=Match(values=("GH",)),
    accession=Match(values=("A1",)),
    procedure_id=Match(values=("P",)),
    study_uid=Match(values=("1.2.3",)),
    station=Match(values=("US1",)),
    modality=Match(values=("US",)),
    step_id=Match(values=("S1",)),
    date=Range(first="20261123", last="20261124"),
    time=Range(first="080000"),
    others={"PatientSex": Match(values=("F",))},
)


def receipt(at: datetime = NOW, **changed: object) -> Receipt:
    plain = Receipt(asker=ASKER, at=at, ending=Ending.ANSWERED, keys=(("Modality", "US"),), query=EVERY_KEY)
    return replace(plain, **changed)  # type: ignore[arg-type]


def write(ports: Ports, *given: Receipt) -> None:
    with ports.database.write() as tx:
        for one in given:
            receipts.write(tx, one)


def test_every_key_of_a_query_is_read_back_as_it_was() -> None:
    assert all(getattr(EVERY_KEY, field.name) for field in fields(EVERY_KEY))
    assert receipts.read_query(receipts.write_query(EVERY_KEY)) == EVERY_KEY
    assert receipts.read_query(receipts.write_query(None)) is None


def test_a_receipt_says_who_asked_what_and_got_what(ports: Ports, order_factory: Make) -> None:
    order = order_factory()
    write(ports, receipt(sent=(order.id,), profile="ge-logiq"))
    with ports.database.read() as tx:
        found = receipts.last_of(tx, "US1")
    assert found is not None
    assert (found.asker, found.last_at, found.times, found.matches, found.profile) == (
        ASKER, NOW, 1, 1, "ge-logiq",
    )  # fmt: skip
    assert (found.keys, found.query) == ((("Modality", "US"),), EVERY_KEY)


def test_the_same_question_with_the_same_answer_is_one_row_and_moves_the_time(
    ports: Ports, order_factory: Make
) -> None:
    order = order_factory()
    for minute in range(5):
        write(ports, receipt(NOW + timedelta(minutes=minute), sent=(order.id,)))
    with ports.database.read() as tx:
        assert tx.connection.execute(select(func.count()).select_from(table)).scalar_one() == 1
        (sighting,) = receipts.of_orders(tx, [order.id])[order.id]
        found = receipts.last_of(tx, "US1")
    assert sighting.seen_at == NOW + timedelta(minutes=4)
    assert found is not None
    assert (found.first_at, found.times) == (NOW, 5)


def test_an_older_answer_given_again_counts_anew(ports: Ports, order_factory: Make) -> None:
    order = order_factory()
    sent = receipt(sent=(order.id,))
    denied = receipt(
        NOW + timedelta(minutes=1),
        left_out=(LeftOut(order_id=order.id, cause=Cause.PROFILE, detail="PatientName: too long"),),
    )
    write(ports, sent, denied)
    with ports.database.read() as tx:
        (sighting,) = receipts.of_orders(tx, [order.id])[order.id]
    assert not sighting.is_seen_since(NOW)
    assert (sighting.cause, sighting.detail) == (Cause.PROFILE, "PatientName: too long")
    write(ports, replace(sent, at=NOW + timedelta(minutes=2)))
    with ports.database.read() as tx:
        (sighting,) = receipts.of_orders(tx, [order.id])[order.id]
    assert sighting.is_seen_since(NOW)


def test_a_long_list_is_written_whole(ports: Ports, order_factory: Make) -> None:
    made = [order_factory(accession=f"A{number}").id for number in range(7)]
    write(ports, receipt(sent=tuple(made[:3])))
    write(ports, receipt(NOW + timedelta(minutes=1), sent=tuple(made)))
    with ports.database.read() as tx:
        found = receipts.of_orders(tx, made)
    assert {one: sightings[0].seen_at for one, sightings in found.items()} == {
        one: NOW + timedelta(minutes=1) for one in made
    }


def test_old_receipts_are_forgotten_with_their_sightings(ports: Ports, order_factory: Make) -> None:
    old, new = order_factory(), order_factory(accession="A2")
    write(ports, receipt(sent=(old.id,)), receipt(NOW + timedelta(days=9), sent=(new.id,)))
    with ports.database.write() as tx:
        assert receipts.forget(tx, NOW + timedelta(days=1)) == 1
        assert list(receipts.of_orders(tx, [old.id, new.id])) == [new.id]
        assert len(receipts.recent(tx, "US1")) == 1


@pytest.mark.parametrize("chunk", [1, 499, 500, 501, 1200])
def test_any_number_of_orders_can_be_asked_about(ports: Ports, chunk: int) -> None:
    with ports.database.read() as tx:
        assert receipts.of_orders(tx, [OrderId(number) for number in range(chunk)]) == {}
