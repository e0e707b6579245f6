from collections.abc import Callable
from dataclasses import replace

import pytest

from gateway.flow.ports import Ports
from gateway.model.errors import Conflict, NotFound
from gateway.model.ids import OrderId
from gateway.model.lifecycle import State
from gateway.model.order import Fault, Order, Place, Provenance, Severity
from gateway.model.patient import Patient
from gateway.store import changes, orders, patients


def test_an_order_comes_back_as_it_was_stored(ports: Ports, order_factory: Callable[..., Order]) -> None:
    codes = ({"CodeValue": "C1", "CodingSchemeDesignator": "99X", "CodeMeaning": "Über"},)
    made = order_factory(RequestedProcedureCodeSequence=codes, name="Müller^Jürgen")
    with ports.database.read() as tx:
        assert orders.show(tx, made.id) == made
    assert made.attributes["RequestedProcedureCodeSequence"] == codes
    assert made.step_id == f"SPS{made.id}"


def test_faults_and_provenance_come_back_whole(ports: Ports, order_factory: Callable[..., Order]) -> None:
    made = order_factory()
    place = Place(line=4, segment="OBR", field=18, repetition=1, path="OBR-18")
    fault = Fault(
        severity=Severity.HOLD,
        keyword="AccessionNumber",
        place=place,
        code="101",
        text="absent",
        at="m.yaml:3",
    )
    trace = Provenance(
        keyword="Modality",
        value="US",
        place=place,
        raw="us",
        steps=("upper",),
        at="m.yaml:9",
        empty=("IPC-5.1",),
    )
    with ports.database.write() as tx:
        orders.save(tx, replace(made, faults=(fault,)), provenance=(trace,))
    with ports.database.read() as tx:
        assert orders.show(tx, made.id).faults == (fault,)
        assert orders.provenance(tx, made.id) == (trace,)


def test_an_order_changed_by_someone_else_is_not_overwritten(
    ports: Ports, order_factory: Callable[..., Order]
) -> None:
    seen = order_factory(state=State.SCHEDULED)
    with ports.database.write() as tx:
        orders.save(tx, replace(seen, state=State.SENT))
    with pytest.raises(Conflict), ports.database.write() as tx:
        orders.save(tx, replace(seen, state=State.CANCELLED))
    with ports.database.read() as tx:
        assert orders.show(tx, seen.id).state is State.SENT


def test_every_change_is_told_to_the_pages(ports: Ports, order_factory: Callable[..., Order]) -> None:
    made = order_factory()
    with ports.database.read() as tx:
        before = changes.latest(tx)
    with ports.database.write() as tx:
        orders.save(tx, made)
    with ports.database.read() as tx:
        assert [(change.topic, change.ref) for change in changes.since(tx, before)] == [("order", made.id)]


def test_the_day_holds_the_orders_of_the_day_and_the_dayless(
    ports: Ports, order_factory: Callable[..., Order]
) -> None:
    late = order_factory(accession="late", start="2026-11-23T16:00:00+00:00")
    early = order_factory(accession="early", start="2026-11-23T08:00:00+00:00")
    dayless = order_factory(accession="dayless", start="")
    order_factory(accession="tomorrow", start="2026-11-24")
    order_factory(accession="dayless and done", start="", state=State.COMPLETED)
    with ports.database.read() as tx:
        assert [order.id for order in orders.of_days(tx, "20261123", "20261123")] == [
            dayless.id,
            early.id,
            late.id,
        ]


def test_an_empty_number_of_the_sender_finds_nobody(
    ports: Ports, order_factory: Callable[..., Order]
) -> None:
    made = order_factory(accession="A7")
    with ports.database.read() as tx:
        assert orders.known_as(tx, "ris", filler="", placer="", accession="") == ()
        assert [o.id for o in orders.known_as(tx, "ris", filler="", placer="", accession="A7")] == [made.id]
        assert orders.known_as(tx, "other", filler="", placer="", accession="A7") == ()


def test_an_unknown_number_is_not_found(ports: Ports) -> None:
    with ports.database.read() as tx, pytest.raises(NotFound):
        orders.show(tx, OrderId(99))


def test_patients_without_identifier_are_never_one(ports: Ports) -> None:
    nobody = Patient(patient_id="", issuer="", name="", birth_date="", sex="")
    someone = replace(nobody, patient_id="P1", name="A^B")
    with ports.database.write() as tx:
        assert patients.save(tx, nobody, ports.clock()) != patients.save(tx, nobody, ports.clock())
        assert patients.save(tx, someone, ports.clock()) == patients.save(tx, someone, ports.clock())
        assert patients.find(tx, "P1", "") is not None


def test_text_no_database_takes_is_stored_with_the_damage_in_sight(ports: Ports) -> None:
    odd = Patient(patient_id="P\0X", issuer="", name="A\ud800B", birth_date="", sex="")
    with ports.database.write() as tx:
        patients.save(tx, odd, ports.clock())
        found = patients.find(tx, "P\0X", "")
    assert found is not None
    assert (found[1].patient_id, found[1].name) == ("P\ufffdX", "A\ufffdB")
