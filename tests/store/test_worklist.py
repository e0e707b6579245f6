from collections.abc import Callable

import pytest

from gateway.flow.ports import Ports
from gateway.model.lifecycle import State
from gateway.model.order import Order
from gateway.model.worklist import Match, Range, WorklistQuery
from gateway.store import worklist

Make = Callable[..., Order]


def _one(*values: str) -> Match:
    return Match(values=values)


def _like(*values: str) -> Match:
    return Match(values=values, is_wild=True, ignore_case=True)


@pytest.fixture
def _list(order_factory: Make) -> None:
    order_factory(accession="A", name="Doe^Jane", start="2026-11-23T08:00:00+00:00")
    order_factory(
        accession="B", name="Müller^Ana", patient_id="M2", station="US2", start="2026-11-23T23:30:00+00:00"
    )
    order_factory(
        accession="C", name="DOE^JOHN", patient_id="M3", modality="CT", start="2026-11-24T00:15:00+00:00"
    )
    order_factory(accession="D", name="Roe^Max", patient_id="M4", station="", start="2026-11-24")
    order_factory(accession="X", state=State.SCHEDULED)


@pytest.mark.usefixtures("_list")
@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (WorklistQuery(), "ABCD"),
        (WorklistQuery(accession=_one("A")), "A"),
        (WorklistQuery(accession=_one("A", "C", "X")), "AC"),
        (WorklistQuery(patient_name=_like("doe*")), "AC"),
        (WorklistQuery(patient_name=_like("MÜLLER^?NA")), "B"),
        (WorklistQuery(patient_name=_like("D%E*")), ""),
        (WorklistQuery(patient_id=_one("M3")), "C"),
        (WorklistQuery(modality=_one("US")), "ABD"),
        (WorklistQuery(station=_one("US2")), "BD"),
        (WorklistQuery(date=Range(first="20261123", last="20261123")), "AB"),
        (WorklistQuery(date=Range(last="20261123")), "AB"),
        (WorklistQuery(date=Range(first="20261124")), "CD"),
        (
            WorklistQuery(
                date=Range(first="20261123", last="20261124"), time=Range(first="230000", last="010000")
            ),
            "BCD",
        ),
    ],
)
def test_both_databases_find_the_same(ports: Ports, query: WorklistQuery, expected: str) -> None:
    with ports.database.read() as tx:
        found = [order.accession for order in worklist.find(tx, query, ports.listed)]
    assert "".join(sorted(found)) == expected
