"""What is wrong is not sent, and nothing is sent that says less than it must."""

from typing import Any

import pytest

from gateway.fhir.conformity import sound

OBSERVATION: dict[str, Any] = {
    "resourceType": "Observation",
    "identifier": [{"system": "urn:x", "value": "1"}],
    "status": "final",
    "code": {"text": "BPD"},
    "subject": {"reference": "Patient/7"},
    "partOf": [{"reference": "ImagingStudy/1"}],
    "valueQuantity": {"value": 1, "unit": "mm"},
    "note": [{"text": "taken twice"}],
}


def test_what_is_right_leaves_as_it_is() -> None:
    assert sound(OBSERVATION, "R4", 1) == OBSERVATION


def test_a_faulty_element_is_left_out() -> None:
    left = sound({**OBSERVATION, "note": [{"texts": "?"}]}, "R4", 1)
    assert left == {name: value for name, value in OBSERVATION.items() if name != "note"}


@pytest.mark.parametrize("name", ["identifier", "subject", "partOf", "valueQuantity", "code"])
def test_without_its_patient_its_study_or_its_value_nothing_is_sent(name: str) -> None:
    faulty: Any = {"nonsense": True}
    wrong = [faulty] if isinstance(OBSERVATION[name], list) else faulty
    assert sound({**OBSERVATION, name: wrong}, "R4", 1) is None
