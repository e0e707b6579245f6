"""The ServiceRequest and the patient behind what a module maps."""

from collections.abc import Mapping
from typing import Any

import pytest

from gateway.mapping.bundle import read_graph
from gateway.mapping.fhir_paths import Resource
from gateway.mapping.service_request import carried, patient_address, request_address

REQUEST: Resource = {
    "resourceType": "ServiceRequest", "id": "9", "status": "active", "subject": {"reference": "Patient/7"},
}  # fmt: skip


def _nothing(holder: Resource, reference: Mapping[str, Any]) -> Resource | None:
    return None


def _found(holder: Resource, reference: Mapping[str, Any]) -> Resource | None:
    return REQUEST


@pytest.mark.parametrize(
    ("order", "address", "patient"),
    [
        (REQUEST, "ServiceRequest/9", "Patient/7"),
        ({"resourceType": "ServiceRequest", "id": 9, "subject": "x"}, "", ""),
        ({"resourceType": "Task", "focus": {"reference": "https://ehr/fhir/ServiceRequest/4/_history/2"},
          "for": {"reference": "Patient/8"}}, "ServiceRequest/4", "Patient/8"),
        ({"resourceType": "Appointment", "basedOn": [{"reference": "ServiceRequest/5"}]}, "ServiceRequest/5", ""),
        ({"resourceType": "Appointment", "basedOn": {"reference": "x"}}, "", ""),
        ({"resourceType": "Task", "basedOn": [{"reference": "CarePlan/1"}, {"reference": "ServiceRequest/5"}]},
         "ServiceRequest/5", ""),
        ({"resourceType": "Task", "focus": {"reference": "Claim/1"}, "basedOn": [{"reference": "ServiceRequest/5"}]},
         "", ""),
        ({"resourceType": "Task", "focus": "ServiceRequest/4", "for": 3}, "", ""),
        ({"resourceType": "Task", "focus": {"reference": "urn:uuid:1"}}, "", ""),
    ],
)  # fmt: skip
def test_the_reference_itself_names_the_order_and_the_patient(
    order: Resource, address: str, patient: str
) -> None:
    assert (request_address(order, _nothing), patient_address(order, _nothing)) == (address, patient)


def test_a_reference_without_an_address_takes_those_of_the_resource_it_leads_to() -> None:
    task = {"resourceType": "Task", "focus": {"reference": "urn:uuid:1"}}
    assert (request_address(task, _found), patient_address(task, _found)) == ("ServiceRequest/9", "Patient/7")


def test_only_a_request_that_a_task_has_in_focus_is_carried() -> None:
    task = {"resourceType": "Task", "focus": {"reference": "ServiceRequest/9"}}
    appointment = {"resourceType": "Appointment", "basedOn": [{"reference": "ServiceRequest/9"}]}
    assert carried([REQUEST, task], _found) == {id(REQUEST)}
    assert carried([REQUEST, appointment], _found) == frozenset()
    assert read_graph([dict(REQUEST), task]).orders == (task,)
    assert len(read_graph([dict(REQUEST), appointment]).orders) == 2
