import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.fhir.references import graph

Resource = dict[str, Any]


def _bundle(*entries: tuple[str, Resource]) -> Resource:
    """A Bundle of (fullUrl, resource); no fullUrl where it is empty."""
    return {
        "resourceType": "Bundle",
        "type": "collection",
        "entry": [{"fullUrl": url, "resource": r} if url else {"resource": r} for url, r in entries],
    }


def _order(reference: str) -> Resource:
    return {"resourceType": "ServiceRequest", "id": "9", "subject": {"reference": reference}}


def _patient(tag: str, **more: Any) -> Resource:
    return {"resourceType": "Patient", "id": "7", "gender": tag, **more}


def _gender(resource: Resource) -> str | None:
    """What the subject of the only order leads to."""
    found = graph(resource)
    (order,) = found.orders
    patient = found.resolve(order, order["subject"])
    return patient["gender"] if patient is not None else None


@pytest.mark.parametrize("reference", ["#7", "#p"])
def test_a_contained_resource_is_found_by_its_id(reference: str) -> None:
    order = {**_order(reference), "contained": [{**_patient("other"), "id": reference[1:]}]}
    assert _gender(order) == "other"


def test_a_contained_resource_finds_its_neighbours_and_its_container() -> None:
    role = {"resourceType": "PractitionerRole", "id": "r", "practitioner": {"reference": "#d"}}
    order = {**_order("#p"), "contained": [role, {"resourceType": "Practitioner", "id": "d"}]}
    found = graph(_bundle(("urn:uuid:1", order)))
    assert found.resolve(role, {"reference": "#d"}) == {"resourceType": "Practitioner", "id": "d"}
    assert found.resolve(role, {"reference": "#"}) is order


def test_a_contained_resource_of_another_order_is_not_found() -> None:
    one = {**_order("#7"), "contained": [_patient("other")]}
    other = {**_order("#7"), "id": "10"}
    found = graph(_bundle(("urn:uuid:1", one), ("urn:uuid:2", other)))
    assert found.resolve(other, other["subject"]) is None


@pytest.mark.parametrize(
    ("order_url", "patient_url", "reference"),
    [
        ("https://ehr/fhir/ServiceRequest/9", "https://ehr/fhir/Patient/7", "https://ehr/fhir/Patient/7"),
        ("https://ehr/fhir/ServiceRequest/9", "https://ehr/fhir/Patient/7", "Patient/7"),
        ("urn:uuid:AA", "urn:uuid:bb", "urn:uuid:BB"),
        ("urn:uuid:aa", "urn:oid:1.2.3", "urn:oid:1.2.3"),
        ("", "", "Patient/7"),
        ("urn:uuid:aa", "urn:uuid:bb", "Patient/7"),
        ("", "https://ehr/fhir/Patient/7", "Patient/7"),
        ("https://ehr/fhir/ServiceRequest/9", "", "Patient/7"),
        ("https://ehr/fhir/ServiceRequest/9", "https://ehr/fhir/Patient/7", "Patient/7/_history/2"),
    ],
)
def test_an_entry_is_found(order_url: str, patient_url: str, reference: str) -> None:
    assert _gender(_bundle((patient_url, _patient("other")), (order_url, _order(reference)))) == "other"


@pytest.mark.parametrize(
    "reference",
    ["Patient/8", "", "Practitioner/7", "https://else/fhir/Patient/7", "Patient?identifier=a|b"],
)
def test_what_is_not_in_the_message_is_not_found(reference: str) -> None:
    found = graph(_bundle(("https://ehr/fhir/Patient/7", _patient("other")), ("", _order(reference))))
    (order,) = found.orders
    assert found.resolve(order, order["subject"]) is None


def test_the_patient_of_another_server_is_another_patient(wire: Callable[[str], bytes]) -> None:
    found = graph(json.loads(wire("two-servers")))
    (order,) = found.orders
    patient = found.resolve(order, order["subject"])
    assert patient is not None
    assert patient["identifier"][0]["value"] == "MRN7007"
    stranger = _bundle(
        ("https://other/fhir/Patient/7", _patient("other")),
        ("https://ehr/fhir/ServiceRequest/9", _order("Patient/7")),
    )
    assert _gender(stranger) is None


def test_a_name_that_two_servers_use_leads_nowhere_without_a_base() -> None:
    entries = [(f"https://{host}/fhir/Patient/7", _patient(host)) for host in ("a", "b")]
    assert _gender(_bundle(*entries, ("", _order("Patient/7")))) is None


@pytest.mark.parametrize(("reference", "gender"), [("Patient/7", "new"), ("Patient/7/_history/1", "old")])
def test_a_history_gives_the_version_asked_for(reference: str, gender: str) -> None:
    versions = [("2", "new"), ("1", "old")]
    url = "https://ehr/fhir/Patient/7"
    entries = [(url, _patient(tag, meta={"versionId": version})) for version, tag in versions]
    assert _gender(_bundle(*entries, ("https://ehr/fhir/ServiceRequest/9", _order(reference)))) == gender


@given(
    st.recursive(
        st.none() | st.text() | st.integers(),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["resource", "contained", "id", "fullUrl", "resourceType", "entry"]), inner
            )
        ),
    ),
    st.text(),
)
def test_no_shape_of_a_message_breaks_it(tree: Any, reference: str) -> None:
    bundle = {
        "resourceType": "Bundle",
        "entry": [tree, {"fullUrl": "http://[", "resource": tree}],
        "contained": tree,
    }
    graph(bundle).resolve(bundle, {"reference": reference})
    graph(bundle).resolve({}, {"reference": tree})
