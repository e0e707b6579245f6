import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from pydicom import Dataset

from gateway.flow.ports import Ports
from gateway.model.order import Order
from gateway.store import orders as stored_orders
from gateway.store import patients

if TYPE_CHECKING:
    from tests.web.dicomweb.conftest import Shelf

pytestmark = pytest.mark.anyio

Orders = Callable[..., Order]

JANE, JOHN, MUELLER = "1.2.1", "1.2.2", "1.2.3"


@pytest.fixture
def three(shelf: "Shelf", order_factory: Orders) -> "Shelf":
    """Three patients' studies; the first has an order."""
    order = order_factory(study_uid=JANE, accession="A1")
    for dataset in shelf.examine(order):
        shelf.keep(dataset)
    john = shelf.examine(
        patient_id="P_2",
        patient_name="Doe^John",
        accession="A2",
        study_uid=JOHN,
        birth_date="19700101",
        sex="M",
    )[0]
    john.StudyDate = "20261201"
    john.StudyID = "S2"
    shelf.keep(john)
    mueller = shelf.examine(
        patient_id="PX2", patient_name="Müller^Änne=東", accession="A3", study_uid=MUELLER, issuer="LAB"
    )[1]
    mueller.StudyDate, mueller.StudyDescription, mueller.Modality = "20270115", "Thorax", "CR"
    shelf.keep(mueller)
    return shelf


async def _found(client: httpx.AsyncClient, path: str, **params: str) -> list[Dataset]:
    answer = await client.get(f"/dicom-web{path}", params=params)
    if answer.status_code == 204:
        assert answer.content == b""
        return []
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/dicom+json"
    return [Dataset.from_json(one) for one in answer.json()]


FOUND: list[tuple[dict[str, str], list[str]]] = [
    ({}, [MUELLER, JOHN, JANE]),
    ({"StudyInstanceUID": JOHN}, [JOHN]),
    ({"0020000D": JOHN}, [JOHN]),
    ({"StudyInstanceUID": f"{JOHN},{JANE},9.9"}, [JOHN, JANE]),
    ({"StudyInstanceUID": f"{JOHN}\\{JANE}"}, [JOHN, JANE]),
    ({"StudyInstanceUID": "9.9"}, []),
    ({"PatientID": "MRN1"}, [JANE]),
    ({"00100020": "MRN1"}, [JANE]),
    ({"PatientID": "mrn1"}, []),
    ({"PatientID": "mrn*"}, []),
    ({"PatientID": "P?2"}, [MUELLER, JOHN]),
    ({"PatientID": "P_2"}, [JOHN]),
    ({"PatientID": "P_*"}, [JOHN]),
    ({"PatientID": "%"}, []),
    ({"PatientID": "*"}, [MUELLER, JOHN, JANE]),
    ({"PatientID": ""}, [MUELLER, JOHN, JANE]),
    ({"IssuerOfPatientID": "LAB"}, [MUELLER]),
    ({"AccessionNumber": "A2"}, [JOHN]),
    ({"AccessionNumber": "A?"}, [MUELLER, JOHN, JANE]),
    ({"StudyDate": "20261123"}, [JANE]),
    ({"StudyDate": "20261124-20261231"}, [JOHN]),
    ({"StudyDate": "20261201-"}, [MUELLER, JOHN]),
    ({"StudyDate": "-20261201"}, [JOHN, JANE]),
    ({"ModalitiesInStudy": "CR"}, [MUELLER]),
    ({"ModalitiesInStudy": "CR,US"}, [MUELLER, JOHN, JANE]),
    ({"ModalitiesInStudy": "CT"}, []),
    ({"PatientName": "Doe^Jane"}, [JANE]),
    ({"PatientName": "doe^JANE^^"}, [JANE]),
    ({"PatientName": "Doe*"}, [JOHN, JANE]),
    ({"PatientName": "*j?n"}, []),
    ({"PatientName": "*jan?"}, [JANE]),
    ({"PatientName": "Doe"}, []),
    ({"PatientName": "müller^änne"}, [MUELLER]),
    ({"PatientName": "MÜLLER*"}, [MUELLER]),
    ({"PatientName": "m?ller*"}, [MUELLER]),
    ({"PatientName": "möller*"}, []),
    ({"PatientBirthDate": "19700101"}, [JOHN]),
    ({"PatientSex": "M"}, [JOHN]),
    ({"StudyID": "S2"}, [JOHN]),
    ({"StudyDescription": "Thorax"}, [MUELLER]),
    ({"PatientName": "Doe*", "StudyDate": "20261123"}, [JANE]),
    ({"limit": "1"}, [MUELLER]),
    ({"limit": "1", "offset": "1"}, [JOHN]),
    ({"limit": "1", "offset": "1", "PatientName": "Doe*"}, [JANE]),
    ({"offset": "3"}, []),
    ({"limit": "999999"}, [MUELLER, JOHN, JANE]),
    ({"includefield": "all"}, [MUELLER, JOHN, JANE]),
    ({"includefield": "00081030,nonsense"}, [MUELLER, JOHN, JANE]),
    ({"fuzzymatching": "true", "PatientID": "MRN1"}, [JANE]),
]


async def test_studies_are_found_by_what_is_known_of_them(client: httpx.AsyncClient, three: "Shelf") -> None:
    for params, found in FOUND:
        studies = await _found(client, "/studies", **params)
        assert [study.StudyInstanceUID for study in studies] == found, params


REFUSED: list[tuple[str, dict[str, str], str]] = [
    ("/studies", {"Nonsense": "1"}, "no attribute"),
    ("/studies", {"00400275.00400009": "1"}, "no attribute"),
    (
        "/studies",
        {"ReferringPhysicianName": "Who"},
        "ReferringPhysicianName: cannot be searched for here",
    ),
    ("/studies", {"SeriesInstanceUID": "1.2"}, "SeriesInstanceUID: cannot be searched for here"),
    ("/series", {"SOPInstanceUID": "1.2"}, "SOPInstanceUID: cannot be searched for here"),
    ("/studies", {"StudyDate": "2026-11-23"}, "StudyDate: not YYYYMMDD"),
    ("/studies", {"StudyDate": "20261399"}, "StudyDate: not YYYYMMDD"),
    ("/studies", {"StudyDate": "-"}, "StudyDate: no date"),
    ("/studies", {"StudyInstanceUID": "1.2,x"}, "StudyInstanceUID: not a UID"),
    ("/studies", {"StudyInstanceUID": ",".join(["1.2"] * 501)}, "more than 500"),
    ("/studies", {"PatientID": "x" * 257}, "PatientID: too long"),
    ("/studies", {"limit": "0"}, "limit: no number"),
    ("/studies", {"limit": "-1"}, "limit: no number"),
    ("/studies", {"limit": "٣"}, "limit: no number"),
    ("/studies", {"offset": "1000001"}, "offset: more than"),
    ("/studies", {"fuzzymatching": "maybe"}, "fuzzymatching"),
    ("/studies/1.2.1/series", {"StudyInstanceUID": "1.2.2"}, "another one than the address"),
]


async def test_a_key_that_is_not_understood_is_refused_with_a_reason(
    client: httpx.AsyncClient, three: "Shelf"
) -> None:
    for path, params, reason in REFUSED:
        answer = await client.get(f"/dicom-web{path}", params=params)
        assert (answer.status_code, answer.text.count("\n")) == (400, 1), params
        assert reason in answer.text


async def test_a_key_that_stands_twice_is_refused(client: httpx.AsyncClient) -> None:
    answer = await client.get("/dicom-web/studies?PatientID=1&00100020=2")
    assert (answer.status_code, answer.text) == (400, "PatientID: stands twice\n")


async def test_a_study_is_told_with_what_is_known_and_nothing_else(
    client: httpx.AsyncClient, three: "Shelf"
) -> None:
    answer = await client.get("/dicom-web/studies", params={"StudyInstanceUID": JANE})
    (study,) = answer.json()
    assert list(study) == sorted(study)
    assert study == {
        "00080005": {"vr": "CS", "Value": ["ISO_IR 192"]},
        "00080020": {"vr": "DA", "Value": ["20261123"]},
        "00080030": {"vr": "TM", "Value": ["103000"]},
        "00080050": {"vr": "SH", "Value": ["A1"]},
        "00080056": {"vr": "CS", "Value": ["ONLINE"]},
        "00080061": {"vr": "CS", "Value": ["US"]},
        "00080090": {"vr": "PN"},
        "00080201": {"vr": "SH", "Value": ["+0000"]},
        "00081030": {"vr": "LO", "Value": ["Abdomen"]},
        "00081190": {"vr": "UR", "Value": [f"http://gateway.test/dicom-web/studies/{JANE}"]},
        "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Doe^Jane"}]},
        "00100020": {"vr": "LO", "Value": ["MRN1"]},
        "00100030": {"vr": "DA", "Value": ["19800214"]},
        "00100040": {"vr": "CS", "Value": ["F"]},
        "0020000D": {"vr": "UI", "Value": [JANE]},
        "00200010": {"vr": "SH", "Value": ["1"]},
        "00201206": {"vr": "IS", "Value": [1]},
        "00201208": {"vr": "IS", "Value": [3]},
    }


async def test_series_and_instances_are_told_with_what_the_address_left_open(
    client: httpx.AsyncClient, three: "Shelf"
) -> None:
    (series,) = await _found(client, f"/studies/{JANE}/series")
    assert (series.Modality, series.SeriesNumber, series.NumberOfSeriesRelatedInstances) == ("US", 1, 3)
    assert series.RetrieveURL.endswith(f"/dicom-web/studies/{JANE}/series/{series.SeriesInstanceUID}")
    assert "PatientName" not in series
    place = f"/studies/{JANE}/series/{series.SeriesInstanceUID}/instances"
    instances = await _found(client, place)
    assert [one.InstanceNumber for one in instances] == [1, 2, 3]
    assert [one.get("NumberOfFrames") for one in instances] == [None, None, 12]
    assert instances[0].RetrieveURL.endswith(f"{place}/{instances[0].SOPInstanceUID}")
    assert "Modality" not in instances[0]
    loop = instances[2]
    assert loop.AvailableTransferSyntaxUID == "1.2.840.10008.1.2.4.50"
    of_study = await _found(client, f"/studies/{JANE}/instances", InstanceNumber="3")
    assert [(one.SOPInstanceUID, one.Modality) for one in of_study] == [(loop.SOPInstanceUID, "US")]
    assert [one.PatientID for one in await _found(client, "/series", Modality="CR")] == ["PX2"]
    everywhere = await _found(client, "/instances", SOPInstanceUID=loop.SOPInstanceUID)
    assert [(one.PatientID, one.Modality, one.InstanceNumber) for one in everywhere] == [("MRN1", "US", 3)]
    by_class = await _found(client, "/instances", SOPClassUID=loop.SOPClassUID, PatientName="doe*")
    assert [one.SOPInstanceUID for one in by_class] == [loop.SOPInstanceUID]


async def test_what_is_not_here_is_not_found(client: httpx.AsyncClient, three: "Shelf") -> None:
    for path in ("/studies/9.9/series", "/studies/9.9/instances", f"/studies/{JANE}/series/9.9/instances"):
        assert (await client.get(f"/dicom-web{path}")).status_code == 404
    assert (
        await client.get(f"/dicom-web/studies/{JANE}/series", params={"Modality": "CT"})
    ).status_code == 204


async def test_that_there_is_more_or_names_are_not_fuzzy_is_said(
    client: httpx.AsyncClient, three: "Shelf"
) -> None:
    more = await client.get("/dicom-web/studies", params={"limit": "2"})
    assert (len(more.json()), "offset" in more.headers["warning"]) == (2, True)
    assert "warning" not in (await client.get("/dicom-web/studies", params={"limit": "3"})).headers
    fuzzy = await client.get("/dicom-web/studies", params={"fuzzymatching": "true"})
    assert "Only literal matching" in fuzzy.headers["warning"]


async def test_the_patient_is_who_the_store_says_now(
    ports: Ports, client: httpx.AsyncClient, three: "Shelf", order_factory: Orders
) -> None:
    survivor = order_factory(patient_id="MRN9", name="Doe-Smith^Jane", accession="A9")
    with ports.database.write() as tx:
        (order,) = stored_orders.of_accession(tx, "A1")
        row = patients.of_identity(tx, "MRN9", "")
        assert row is not None
        stored_orders.save(tx, _with_patient(order, survivor))
    (study,) = await _found(client, "/studies", PatientID="MRN9")
    assert (study.StudyInstanceUID, study.PatientName) == (JANE, "Doe-Smith^Jane")
    assert await _found(client, "/studies", PatientID="MRN1") == []
    assert await _found(client, "/studies", PatientName="Doe^Jane") == []


def _with_patient(order: Order, other: Order) -> Order:
    from dataclasses import replace

    return replace(order, patient=other.patient, patient_row=other.patient_row)


async def test_only_dicom_json_is_told(client: httpx.AsyncClient, three: "Shelf") -> None:
    refused = await client.get("/dicom-web/studies", headers={"Accept": "application/dicom+xml"})
    assert (refused.status_code, "application/dicom+json" in refused.text) == (406, True)
    plain: Any = await client.get("/dicom-web/studies", headers={"Accept": "application/json"})
    assert len(json.loads(plain.text)) == 3
