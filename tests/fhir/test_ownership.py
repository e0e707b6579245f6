"""Whose a Task is, and which release an order is written in."""

import json
from typing import Any

import pytest

from gateway.fhir.auth import Source
from gateway.fhir.interpret import understand
from gateway.fhir.ownership import ANOTHERS, is_for_another
from gateway.fhir.release import release_of
from gateway.mapping.registry import Modules

EHR = Source(
    name="ehr", base_url="https://ehr.example/fhir", owners=("Organization/1", "urn:oid:1.2|radiology")
)


def _task(owner: Any = None) -> dict[str, Any]:
    return {"resourceType": "Task", "id": "7", "status": "requested", "owner": owner} if owner else {
        "resourceType": "Task", "id": "7"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("owner", "anothers"),
    [
        (None, False),
        ({"display": "Radiology"}, False),
        ({"reference": "Organization/1"}, False),
        ({"reference": "Organization/1/_history/3"}, False),
        ({"reference": "https://ehr.example/fhir/Organization/1"}, False),
        ({"identifier": {"system": "urn:oid:1.2", "value": "radiology"}}, False),
        (
            {"reference": "Organization/9", "identifier": {"system": "urn:oid:1.2", "value": "radiology"}},
            False,
        ),
        ({"reference": "Organization/9"}, True),
        ({"reference": "https://other.example/fhir/Organization/1"}, True),
        ({"identifier": {"value": "radiology"}}, True),
    ],
)
def test_a_task_is_anothers_by_its_owner(owner: Any, anothers: bool) -> None:
    assert is_for_another(_task(owner), EHR) is anothers
    assert not is_for_another(_task(owner), Source(name="ehr"))
    assert not is_for_another({"resourceType": "ServiceRequest", "owner": owner}, EHR)


@pytest.mark.parametrize(
    ("named", "anothers"),
    [
        ({"requestedPerformer": [{"reference": {"reference": "Organization/9"}}]}, True),
        ({"requestedPerformer": [{"reference": {"reference": "Organization/1"}}]}, False),
        ({"requestedPerformer": [{"reference": {"reference": "Device/US1"}}]}, False),
        ({"requestedPerformer": [{"concept": {"text": "radiology"}}]}, False),
        ({"performer": [{"actor": {"type": "Organization", "identifier": {"value": "lab"}}}]}, True),
        ({"performer": [{"actor": {"reference": "Practitioner/2"}}]}, False),
        ({"owner": {"reference": "Organization/1"},
          "performer": [{"actor": {"reference": "Organization/9"}}]}, False),
    ],
)  # fmt: skip
def test_an_r5_task_is_anothers_by_the_organization_asked_to_perform_it(
    named: dict[str, Any], anothers: bool
) -> None:
    assert is_for_another({"resourceType": "Task", "id": "7", **named}, EHR) is anothers


def test_a_task_for_another_makes_no_order(wire_order: dict[str, Any], modules: Modules) -> None:
    task = {
        "resourceType": "Task", "id": "7", "status": "requested", "intent": "order",
        "focus": {"reference": f"ServiceRequest/{wire_order['id']}"}, "owner": {"reference": "Organization/9"},
    }  # fmt: skip
    entries = [{"resource": one} for one in (wire_order, task)]
    raw = json.dumps({"resourceType": "Bundle", "type": "collection", "entry": entries}).encode()
    found = understand(raw, EHR, modules)
    mapped = found.interpretation.mapped
    assert mapped is not None
    assert mapped.requests == ()
    assert ANOTHERS in mapped.skipped
    assert not found.interpretation.failure
    ours = understand(raw, Source(name="ehr"), modules).interpretation.mapped
    assert ours is not None
    assert len(ours.requests) == 1


def test_a_task_for_another_thing_and_another_one_leaves_the_order_to_us(
    wire_order: dict[str, Any], modules: Modules
) -> None:
    task = {
        "resourceType": "Task", "id": "7", "status": "requested", "intent": "order",
        "code": {"coding": [{"code": "approve"}]},
        "focus": {"reference": f"ServiceRequest/{wire_order['id']}"}, "owner": {"reference": "Organization/9"},
    }  # fmt: skip
    entries = [{"resource": one} for one in (wire_order, task)]
    raw = json.dumps({"resourceType": "Bundle", "type": "collection", "entry": entries}).encode()
    mapped = understand(raw, EHR, modules).interpretation.mapped
    assert mapped is not None
    assert [request.address for request in mapped.requests] == ["ServiceRequest/31"]


@pytest.fixture
def wire_order() -> dict[str, Any]:
    patient = {
        "resourceType": "Patient", "id": "p", "identifier": [{"system": "urn:mrn", "value": "M1"}],
        "name": [{"family": "Weber", "given": ["Ida"]}],
    }  # fmt: skip
    return {
        "resourceType": "ServiceRequest", "id": "31", "status": "active", "intent": "order",
        "contained": [patient], "subject": {"reference": "#p"}, "encounter": {"reference": "Encounter/3"},
        "identifier": [{"type": {"coding": [{"code": "PLAC"}]}, "value": "P31"}],
        "code": {"text": "Ultrasound of the abdomen"},
    }  # fmt: skip


def test_the_visit_is_known_by_its_address(wire_order: dict[str, Any], modules: Modules) -> None:
    def visit(reference: str) -> str:
        raw = json.dumps({**wire_order, "encounter": {"reference": reference}}).encode()
        mapped = understand(raw, EHR, modules).interpretation.mapped
        assert mapped is not None
        return mapped.requests[0].encounter

    assert visit("Encounter/3") == "Encounter/3"
    assert visit("https://ehr.example/fhir/Encounter/3") == "Encounter/3"
    assert visit("https://other.example/fhir/Encounter/3") == ""
    assert visit("#visit") == ""


@pytest.mark.parametrize(
    ("order", "release"),
    [
        ({"resourceType": "ServiceRequest", "code": {"concept": {"text": "x"}}}, "R5"),
        ({"resourceType": "ServiceRequest", "reason": [{"reference": {"reference": "Condition/1"}}]}, "R5"),
        ({"resourceType": "Task", "requestedPerformer": [{"reference": {"reference": "Device/1"}}]}, "R5"),
        ({"resourceType": "ServiceRequest", "code": {"coding": [{"code": "x"}], "text": "x"}}, "R4B"),
        ({"resourceType": "Task", "focus": {"reference": "ServiceRequest/1"}}, "R4B"),
        ({"resourceType": "Unknown", "code": {"concept": {}}}, "R4B"),
    ],
)
def test_the_release_shows_in_the_form(order: dict[str, Any], release: str) -> None:
    assert release_of([order], "R4B") == release
