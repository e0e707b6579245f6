"""The road with an EHR that nobody here wrote: sekmet-fhir orders by message and is told of order and study.

SEKMET names its program; tests/road/make_sekmet.py installs it.
"""

import json
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

from gateway.fhir.keys import make_key

SEKMET = Path(os.environ.get("SEKMET", "no program")).absolute()
WITHIN_S = 30.0
BACKPORT = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition"
FHIR = {"Content-Type": "application/fhir+json"}
HOUSE = {"Authorization": "Bearer the secret of the house"}
PATIENT = {
    "resourceType": "Patient",
    "identifier": [
        {
            "system": "urn:mrn",
            "value": "MRN77",
            "type": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "MR"}]},
        }
    ],
    "name": [{"use": "official", "family": "Doe", "given": ["Jane"]}],
    "gender": "female",
    "birthDate": "1980-02-14",
}

pytestmark = pytest.mark.skipif(
    not SEKMET.is_file(), reason="SEKMET names no program that tests/road/make_sekmet.py installed"
)


class Hospital:
    """A running sekmet, which knows the gateway as a peer of its own."""

    def __init__(self, folder: Path, port: int, gateway: str, guard: str = "") -> None:
        """`guard` are the lines of its settings that say who may come in: with HOUSE everything may be done."""
        self.base = f"http://127.0.0.1:{port}/fhir"
        self.folder = folder
        self.settings = folder / "settings.yaml"
        peer = f'base_url: "{gateway}/fhir/ehr", auth: {{type: bearer, token: a long secret}}'
        self.settings.write_text(
            f"base_url: {self.base}\nhost: 127.0.0.1\nport: {port}\nsimulator: {{enabled: false}}\n"
            f"peers: {{gw: {{{peer}, mode: messaging}}, gw-rest: {{{peer}, mode: rest}}}}\n{guard}",
            encoding="utf-8",
        )

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "SEKMET_CONFIG": str(self.settings)}

    @contextmanager
    def running(self) -> Iterator[None]:
        with (self.folder / "sekmet.log").open("w") as log:
            process = subprocess.Popen(
                [SEKMET, "serve"], cwd=self.folder, env=self.environment, stdout=log, stderr=log
            )
            try:
                _until(self._answers)
                yield
            finally:
                process.terminate()
                process.wait(20)

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.base}/metadata", timeout=5).status_code == 200
        except httpx.HTTPError:
            return False

    def run(self, workflow: str, target: str = "gw", **arguments: str) -> Any:
        """What the workflow made and what the gateway answered."""
        words = [word for name, value in arguments.items() for word in ("-a", f"{name}={value}")]
        done = subprocess.run(
            [SEKMET, "workflow", "run", workflow, "--target", target, *words], cwd=self.folder,
            env=self.environment, capture_output=True, text=True, timeout=60, check=True,
        )  # fmt: skip
        return json.JSONDecoder().raw_decode(done.stdout[done.stdout.index("{") :])[0]

    def play(self, scenario: str, peer: str) -> str:
        """What is told of the scenario, played with the gateway; empty when all of it went well."""
        done = subprocess.run(
            [SEKMET, "scenario", "run", scenario, "--peer", peer, "--no-serve"], cwd=self.folder,
            env=self.environment, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        return "" if done.returncode == 0 and "1/1 scenarios passed" in done.stdout else done.stdout

    def add(self, resource: dict[str, Any]) -> str:
        url = f"{self.base}/{resource['resourceType']}"
        answer = httpx.post(url, content=json.dumps(resource), headers={**FHIR, **HOUSE}, timeout=10)
        return str(answer.raise_for_status().json()["id"])

    def read(self, address: str) -> Any:
        return httpx.get(f"{self.base}/{address}", headers=HOUSE, timeout=10).raise_for_status().json()


def _until(is_so: Callable[[], bool]) -> None:
    until = time.monotonic() + WITHIN_S
    while not is_so():
        assert time.monotonic() < until
        time.sleep(0.1)


@pytest.fixture
def hospital(serve: Callable[..., Any], tmp_path: Path) -> Iterator[tuple[Any, Hospital]]:
    with _beside(serve, tmp_path) as both:
        yield both


@pytest.fixture
def guarded(serve: Callable[..., Any], tmp_path: Path) -> Iterator[tuple[Any, Hospital]]:
    """A hospital that lets the gateway in by SMART Backend Services alone, and reads its keys from it."""
    key = tmp_path / "gateway.pem"
    make_key(key, "ES384")
    proof = f'{{ smart_backend = {{ client_id = "gateway", keys = ["{key}"] }} }}'
    guard = (
        "server_auth: {{types: [bearer, smart], tokens: [the secret of the house], "
        "smart_clients: [{{client_id: gateway, jwks_url: '{gateway}/.well-known/jwks.json', scopes: 'system/*.*'}}]}}\n"
    )
    with _beside(
        serve, tmp_path, read=f"read_auth = {proof}\n", write=f"auth = {proof}\n", guard=guard
    ) as both:
        yield both


@contextmanager
def _beside(
    serve: Callable[..., Any], folder: Path, *, read: str = "", write: str = "", guard: str = ""
) -> Iterator[tuple[Any, Hospital]]:
    """A gateway and a hospital; `read` and `write` say how the gateway proves itself, `guard` whom it lets in."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}/fhir"
    gateway = serve(
        f'[fhir.sources.ehr]\nauth = {{ bearer = "a long secret" }}\nbase_url = "{url}"\n{read}'
        f'poll = {{ criteria = "ServiceRequest" }}\n'
        f'[fhir.destinations.ehr]\nurl = "{url}"\nwrite = "auto"\n{write}'
    )
    hospital = Hospital(folder, port, gateway.url, guard.format(gateway=gateway.url))
    with hospital.running():
        yield gateway, hospital


def _image(folder: Path, order: dict[str, Any]) -> Path:
    image = Dataset()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image.SOPClassUID, image.SOPInstanceUID = SecondaryCaptureImageStorage, generate_uid()
    image.StudyInstanceUID, image.SeriesInstanceUID = order["study_uid"], generate_uid()
    image.AccessionNumber, image.Modality = order["accession"], order["modality"]
    image.PatientID, image.PatientName, image.PatientBirthDate = order["patient_id"], "Doe^Jane", "19800214"
    image.Rows = image.Columns = 16
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.BitsAllocated = image.BitsStored = 8
    image.HighBit, image.PixelRepresentation = 7, 0
    image.PixelData = bytes(256)
    file = folder / "image.dcm"
    image.save_as(file, enforce_file_format=True)
    return file


def _orders(gateway: Any) -> list[dict[str, Any]]:
    lines = gateway.command("orders", "list", "--json").stdout.splitlines()
    return [json.loads(line) for line in lines]


def test_an_order_comes_by_message_and_its_task_and_study_go_back(
    hospital: tuple[Any, Hospital], tmp_path: Path
) -> None:
    _there_and_back(*hospital, tmp_path)


def test_the_same_by_smart_backend_services(guarded: tuple[Any, Hospital], tmp_path: Path) -> None:
    gateway, ehr = guarded
    assert httpx.get(f"{ehr.base}/ImagingStudy", timeout=10).status_code == 401
    _there_and_back(gateway, ehr, tmp_path)


def _there_and_back(gateway: Any, ehr: Hospital, tmp_path: Path) -> None:
    """An order from the hospital, its images, and what the hospital knows of both in the end."""
    patient = ehr.add(PATIENT)
    made = ehr.run("orders.imaging_order", patient=patient)
    (ack,) = made["_meta"]["acks"]
    assert (ack["status"], ack["ok"]) == (200, True)
    assert "without a response message" not in ack.get("detail", "")
    (order,) = _orders(gateway)
    assert (order["state"], order["patient_id"], order["patient_name"]) == ("scheduled", "MRN77", "Doe^Jane")

    assert gateway.command("orders", "send", order["accession"], "--station", "US1").returncode == 0
    task = f"Task/{made['task']['id']}"
    _until(lambda: ehr.read(task)["status"] == "accepted")
    stored = gateway.command(
        "simulate", "machine", "store", str(_image(tmp_path, order)), "--to", f"127.0.0.1:{gateway.storage}"
    )
    assert "0x0000" in stored.stdout
    _until(lambda: bool(ehr.read(task).get("output")))

    (entry,) = ehr.read("ImagingStudy")["entry"]
    study = entry["resource"]
    assert study["status"] == "available"
    assert study["subject"]["reference"] == f"Patient/{patient}"
    assert study["basedOn"][0]["reference"] == f"ServiceRequest/{made['service_request']['id']}"
    assert study["numberOfInstances"] == 1
    done = ehr.read(task)
    assert done["status"] == "completed"
    assert done["output"][0]["valueReference"]["reference"] == f"ImagingStudy/{study['id']}"


def test_an_order_that_the_hospital_cancels_is_cancelled_here(hospital: tuple[Any, Hospital]) -> None:
    gateway, ehr = hospital
    made = ehr.run("orders.imaging_order", patient=ehr.add(PATIENT))
    assert [order["state"] for order in _orders(gateway)] == ["scheduled"]
    (ack,) = ehr.run("orders.cancel", service_request=made["service_request"]["id"])["_meta"]["acks"]
    assert (ack["status"], ack["ok"]) == (200, True)
    assert [order["state"] for order in _orders(gateway)] == ["cancelled"]


def _ordered(ehr: Hospital) -> str:
    """The id of an order that is only written down in the hospital."""
    made = ehr.run("orders.imaging_order", "local", patient=ehr.add(PATIENT))
    return str(made["service_request"]["id"])


def _states(gateway: Any) -> list[str]:
    return [order["state"] for order in _orders(gateway)]


def _subscribed(gateway: Any, ehr: Hospital, **more: Any) -> None:
    headers = ["Authorization: Bearer a long secret"]
    channel = {"type": "rest-hook", "endpoint": f"{gateway.url}/fhir/ehr", "header": headers}
    channel |= more.pop("channel", {})
    subscription = {"resourceType": "Subscription", "status": "requested", "reason": "orders", **more}
    address = f"Subscription/{ehr.add({**subscription, 'channel': channel})}"
    _until(lambda: ehr.read(address)["status"] == "active")


def _revoked(ehr: Hospital, order: str) -> None:
    resource = {**ehr.read(f"ServiceRequest/{order}"), "status": "revoked"}
    url = f"{ehr.base}/ServiceRequest/{order}"
    httpx.put(url, content=json.dumps(resource), headers={**FHIR, **HOUSE}, timeout=10).raise_for_status()


@pytest.mark.parametrize("payload", [{"payload": "application/fhir+json"}, {}])
def test_an_order_and_its_end_come_by_a_subscription(
    hospital: tuple[Any, Hospital], payload: dict[str, Any]
) -> None:
    gateway, ehr = hospital
    _subscribed(gateway, ehr, criteria="ServiceRequest?", channel=payload)
    order = _ordered(ehr)
    _until(lambda: _states(gateway) == ["scheduled"])
    _revoked(ehr, order)
    _until(lambda: _states(gateway) == ["cancelled"])


@pytest.mark.parametrize("content", ["full-resource", "id-only", "empty"])
def test_an_order_comes_by_a_topic(hospital: tuple[Any, Hospital], content: str) -> None:
    gateway, ehr = hospital
    told = {"url": f"{BACKPORT}/backport-payload-content", "valueCode": content}
    _subscribed(
        gateway,
        ehr,
        meta={"profile": [f"{BACKPORT}/backport-subscription"]},
        criteria="http://sekmet.dev/fhir/SubscriptionTopic/servicerequest-new",
        channel={"payload": "application/fhir+json", "_payload": {"extension": [told]}},
    )
    _ordered(ehr)
    _until(lambda: _states(gateway) == ["scheduled"])


def test_the_hospital_orders_by_rest(hospital: tuple[Any, Hospital]) -> None:
    gateway, ehr = hospital
    made = ehr.run("orders.imaging_order", "rest:gw", patient=_put(gateway, PATIENT))
    (order,) = _orders(gateway)
    assert (order["state"], order["patient_id"], order["patient_name"]) == ("scheduled", "MRN77", "Doe^Jane")
    assert made["service_request"]["id"]


def _put(gateway: Any, resource: dict[str, Any]) -> str:
    url = f"{gateway.url}/fhir/ehr/{resource['resourceType']}"
    headers = {**FHIR, "Authorization": "Bearer a long secret"}
    answer = httpx.post(url, content=json.dumps(resource), headers=headers, timeout=10)
    assert answer.status_code == 201
    return str(answer.json()["id"])


def test_the_hospitals_own_scenarios_pass(hospital: tuple[Any, Hospital]) -> None:
    _, ehr = hospital
    assert ehr.play("messaging_adt_orders", "gw") == ""
    for scenario in ("rad_order_imaging_report", "adt_merge_update", "appointment_book_cancel"):
        assert ehr.play(scenario, "gw-rest") == ""
