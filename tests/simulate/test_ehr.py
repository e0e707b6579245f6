"""The simulated EHR over real HTTP, and the client that orders."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from gateway.fhir.references import graph
from gateway.mapping.registry import Modules
from gateway.model.errors import Refused, Unavailable
from gateway.simulate import placer
from gateway.simulate.ehr import Ehr, serving
from gateway.simulate.exams import Exam

UID = "urn:oid:2.25.77"
BY_UID = {"identifier": f"urn:dicom:uid|{UID}"}
FHIR = {"Content-Type": "application/fhir+json"}


def study(uid: str = UID, **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "ImagingStudy",
        "status": "available",
        "identifier": [{"system": "urn:dicom:uid", "value": uid}],
        "subject": {"identifier": {"value": "MRN1"}},
        **more,
    }


@pytest.fixture
def ehr() -> Ehr:
    return Ehr()


@pytest.fixture
def client(ehr: Ehr) -> Iterator[httpx.Client]:
    with serving(ehr) as base, httpx.Client(base_url=base, headers=FHIR) as client:
        yield client


def transaction(*entries: dict[str, Any]) -> str:
    return json.dumps({"resourceType": "Bundle", "type": "transaction", "entry": list(entries)})


def put_entry(resource: dict[str, Any], uid: str = UID) -> dict[str, Any]:
    request = {"method": "PUT", "url": f"ImagingStudy?identifier=urn:dicom:uid%7C{uid}"}
    return {"resource": resource, "request": request}


def test_a_conditional_update_creates_and_then_changes(client: httpx.Client, ehr: Ehr) -> None:
    first = client.put("/ImagingStudy", params=BY_UID, content=json.dumps(study()))
    again = client.put("/ImagingStudy", params=BY_UID, content=json.dumps(study(numberOfInstances=4)))
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.headers["etag"] == 'W/"2"'
    (held,) = ehr.held("ImagingStudy")
    assert held["numberOfInstances"] == 4
    assert held["id"] == first.json()["id"]
    assert [(one.method, one.status) for one in ehr.received] == [("PUT", 201), ("PUT", 200)]
    assert all(one.is_conditional_update for one in ehr.received)


def test_several_matches_change_nothing(client: httpx.Client, ehr: Ehr) -> None:
    ehr.add(study())
    ehr.add(study())
    answer = client.put("/ImagingStudy", params=BY_UID, content=json.dumps(study(numberOfInstances=4)))
    assert answer.status_code == 412
    assert answer.json()["issue"][0]["code"] == "multiple-matches"
    assert all("numberOfInstances" not in held for held in ehr.held("ImagingStudy"))


def test_the_body_must_have_the_identifier_searched_by(client: httpx.Client) -> None:
    answer = client.put("/ImagingStudy", params=BY_UID, content=json.dumps(study("urn:oid:2.25.78")))
    assert answer.status_code == 400


def test_a_transaction_writes_each_entry(client: httpx.Client, ehr: Ehr) -> None:
    answer = client.post("", content=transaction(put_entry(study())))
    again = client.post("/", content=transaction(put_entry(study())))
    assert answer.json()["entry"][0]["response"]["status"] == "201 Created"
    assert again.json()["entry"][0]["response"]["status"] == "200 OK"
    assert len(ehr.held("ImagingStudy")) == 1
    assert all(one.is_conditional_update for one in ehr.received)


def test_a_transaction_is_all_or_nothing(client: httpx.Client, ehr: Ehr) -> None:
    wrong = put_entry({**study("urn:oid:2.25.78"), "status": ["?"]}, "urn:oid:2.25.78")
    answer = client.post("", content=transaction(put_entry(study()), wrong))
    assert answer.status_code == 422
    assert ehr.held("ImagingStudy") == ()


def test_read_and_search_find_what_was_written(client: httpx.Client) -> None:
    made = client.post("/ImagingStudy", content=json.dumps(study())).json()
    assert client.get(f"/ImagingStudy/{made['id']}").json() == made
    assert client.get("/ImagingStudy", params=BY_UID).json()["total"] == 1
    assert client.get("/ImagingStudy", params={"identifier": UID}).json()["total"] == 1
    assert client.get("/ImagingStudy", params={"identifier": "other|" + UID}).json()["total"] == 0
    assert client.get("/ImagingStudy/none").status_code == 404
    assert client.get("/ImagingStudy", params={"colour": "red"}).status_code == 400


def test_a_conditional_create_makes_one(client: httpx.Client, ehr: Ehr) -> None:
    unless = {"If-None-Exist": f"identifier=urn:dicom:uid%7C{UID}"}
    statuses = [
        client.post("/ImagingStudy", content=json.dumps(study()), headers=unless).status_code
        for _ in range(2)
    ]
    assert statuses == [201, 200]
    assert len(ehr.held("ImagingStudy")) == 1


def test_an_update_under_a_chosen_id_needs_that_id(client: httpx.Client) -> None:
    assert client.put("/ImagingStudy/s1", content=json.dumps(study(id="s1"))).status_code == 201
    assert client.put("/ImagingStudy/s1", content=json.dumps(study(id="s1"))).status_code == 200
    assert client.put("/ImagingStudy/s1", content=json.dumps(study(id="s2"))).status_code == 400


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("", 400),
        ("[]", 400),
        ('{"resourceType": "Patient"}', 400),
        ('{"resourceType": "ImagingStudy"}', 422),
        (json.dumps(study(colour="red")), 422),
    ],
)
def test_what_is_no_study_is_refused(client: httpx.Client, body: str, status: int) -> None:
    answer = client.put("/ImagingStudy", params=BY_UID, content=body)
    assert answer.status_code == status
    assert answer.json()["resourceType"] == "OperationOutcome"


def test_another_media_type_is_refused(client: httpx.Client) -> None:
    answer = client.put("/ImagingStudy", params=BY_UID, content="x", headers={"Content-Type": "text/plain"})
    assert answer.status_code == 415


def test_a_token_is_asked_for_when_one_is_set() -> None:
    ehr = Ehr(token="right")
    with serving(ehr) as base:
        url = f"{base}/ImagingStudy"
        assert httpx.get(url).status_code == 401
        assert httpx.get(url, headers={"Authorization": "Bearer wrong"}).status_code == 401
        assert httpx.get(url, headers={"Authorization": "Bearer right"}).status_code == 200
        assert placer.fhir_release(base) == "4.0.1"


def test_a_taken_port_is_unavailable(ehr: Ehr) -> None:
    with serving(ehr) as base:
        port = httpx.URL(base).port or 0
        with pytest.raises(Unavailable, match="port"), serving(Ehr(), port):
            pass


def test_an_order_is_valid_fhir_and_the_shipped_mapping_reads_it(exam: Exam, modules: Modules) -> None:
    resource = placer.service_request(exam, request_id="sr-1")
    Ehr().add(resource)
    (request,) = modules.map_fhir(graph(resource)).requests
    assert request.faults == ()
    assert request.text("PatientName") == exam.person_name
    assert request.text("PatientID") == exam.patient_id
    assert request.text("AccessionNumber") == exam.accession
    assert request.text("Modality") == "US"
    assert request.service_request == "ServiceRequest/sr-1"


def test_an_order_is_pushed_with_its_token(ehr: Ehr, exam: Exam) -> None:
    resource = placer.service_request(exam, request_id="sr-1")
    with serving(ehr) as base:
        # the EHR stands in for a gateway: /fhir/{source} takes a resource of the source's name
        answer = placer.push(resource, base.removesuffix("/fhir"), "ServiceRequest", token="t")
    assert answer.is_accepted
    assert json.loads(ehr.received[0].body) == resource


def test_nobody_listening_is_unavailable(exam: Exam, free_port: int) -> None:
    base = f"http://127.0.0.1:{free_port}"
    with pytest.raises(Unavailable):
        placer.push(placer.service_request(exam, request_id="sr-1"), base, "ehr")
    with pytest.raises(Unavailable):
        placer.fhir_release(base)


def test_a_server_without_metadata_is_refused(ehr: Ehr) -> None:
    with serving(ehr) as base, pytest.raises(Refused, match="404"):
        placer.fhir_release(f"{base}/a/b")
