"""The whole road, each party real: DCMTK's clients, a FHIR server in a process's own thread, Chromium elsewhere."""

import json
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.uid import UID
from sqlalchemy import Engine, text

from gateway.simulate.ehr import Ehr, serving

needs_dcmtk = pytest.mark.skipif(shutil.which("findscu") is None, reason="Debian's dcmtk is not installed")
SYNTAXES = (
    "examples_rgb_color.dcm",
    "CT_small.dcm",
    "JPEG2000.dcm",
    "SC_rgb_jpeg_gdcm.dcm",
    "MR_small_RLE.dcm",
)
ASKED = (
    "AccessionNumber=", "PatientName=", "PatientID=", "PatientBirthDate=", "PatientSex=", "StudyInstanceUID=",
    "RequestedProcedureID=", "RequestedProcedureDescription=", "(0040,0100)[0].Modality=US",
    "(0040,0100)[0].ScheduledStationAETitle=US1", "(0040,0100)[0].ScheduledProcedureStepStartDate=",
    "(0040,0100)[0].ScheduledProcedureStepID=", "MedicalAlerts=",
)  # fmt: skip


@pytest.fixture
def ehr() -> Iterator[tuple[Ehr, str]]:
    server = Ehr(token="the EHR's secret")
    with serving(server) as url:
        yield server, url


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest) -> str:
    if request.param == "sqlite":
        return ""
    engine: Engine = request.getfixturevalue("postgres")
    name = f"t{uuid4().hex}"
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    url: str = engine.url.set(database=name).render_as_string(hide_password=False)
    return url


def _run(*words: object) -> str:
    done = subprocess.run(
        [str(word) for word in words], capture_output=True, text=True, timeout=60, check=False
    )
    return done.stdout + done.stderr


def _find(gateway: Any, *keys: str) -> str:
    asked = [word for key in keys for word in ("-k", key)]
    return _run(
        "findscu", "-W", "-v", "-aet", "US1", "-aec", "STORESCP", "127.0.0.1", gateway.worklist, *asked
    )


def _until(said: Callable[[], object], seconds: float = 20) -> Any:
    end = time.monotonic() + seconds
    while not (result := said()):
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.2)
    return result


def _rows(gateway: Any, kind: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in gateway.command(kind, "list", "--json").stdout.splitlines()]


def _images(folder: Path, study_uid: str) -> list[Path]:
    """Real images of five kinds and transfer syntaxes, as a machine would send them for the order."""
    folder.mkdir()
    made = []
    for number, name in enumerate(SYNTAXES):
        source = get_testdata_file(name, download=False)
        assert source is not None
        image = dcmread(source)
        image.StudyInstanceUID, image.SeriesInstanceUID = study_uid, f"1.2.3.{number}"
        image.SOPInstanceUID = UID(f"1.2.3.{number}.1")
        image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
        image.AccessionNumber, image.PatientID, image.PatientName = "A100", "MRN100", "DOE^JANE^Q"
        image.save_as(folder / name)
        made.append(folder / name)
    return made


@pytest.mark.dcmtk
@needs_dcmtk
def test_an_order_goes_to_the_machine_and_its_images_come_back_to_the_ehr(
    serve: Callable[..., Any],
    order: Callable[..., bytes],
    ehr: tuple[Ehr, str],
    store_url: str,
    tmp_path: Path,
) -> None:
    server, url = ehr
    gateway = serve(
        f'[fhir.destinations.ehr]\nurl = "{url}"\nauth = {{ bearer = "the EHR\'s secret" }}\n'
        f'write = "conditional-update"\n',
        url=store_url,
    )
    answers = gateway.say_hl7(order("A100"), order("A200", patient_id="MRN200", name="ROE^MAX"))
    assert [b"MSA|AA|" in answer for answer in answers] == [True, True]

    # Nobody pressed "send": the machine finds nobody.
    assert "DOE" not in _find(gateway, *ASKED)
    assert gateway.command("orders", "send", "A100", "--station", "US1").returncode == 0
    found = _find(gateway, *ASKED)
    assert found.count("Find Response:") == 1
    for value in ("DOE^JANE^Q", "MRN100", "A100", "19800214", "RPA100", "Abdomen ultrasound", "US1"):
        assert f"[{value}" in found, value
    assert "(0010,2000) LO (no value available)" in found  # asked and unknown: returned empty
    assert "DOE" not in _find(gateway, "PatientName=", "(0040,0100)[0].ScheduledStationAETitle=US2")
    assert "DOE" in _find(gateway, "PatientName=do*", "(0040,0100)[0].ScheduledStationAETitle=")

    (study_uid,) = re.findall(r"\(0020,000d\) UI \[([0-9.]+)", found)
    images = _images(tmp_path / "images", study_uid)
    for _ in range(2):  # the machine sends everything twice
        sent = _run(
            "storescu", "-v", "-xf", *_profile(tmp_path), "-aet", "US1", "-aec", "STORESCP",
            "127.0.0.1", gateway.storage, *images,
        )  # fmt: skip
        assert sent.count("Received Store Response (Success)") == len(images), sent

    (study,) = _until(lambda: server.held("ImagingStudy"))
    assert (study["status"], study["numberOfInstances"], study["numberOfSeries"]) == ("available", 5, 5)
    identifiers = {identifier.get("system"): identifier["value"] for identifier in study["identifier"]}
    assert identifiers["urn:dicom:uid"] == f"urn:oid:{study_uid}"
    assert "A100" in identifiers.values()
    assert study["basedOn"][0]["identifier"]["value"] == "A100"
    (wrote,) = [request for request in server.received if request.method == "PUT"]
    assert wrote.is_conditional_update
    assert wrote.url == f"/fhir/ImagingStudy?identifier=urn:dicom:uid%7Curn:oid:{study_uid}"

    _until(lambda: [row["state"] for row in _rows(gateway, "deliveries")] == ["delivered"])
    states = {row["accession"]: row["state"] for row in _rows(gateway, "orders")}
    assert states == {"A100": "completed", "A200": "scheduled"}
    assert "DOE" not in _find(gateway, *ASKED)  # done: off the list
    for name, path in zip(SYNTAXES, images, strict=True):
        sent_image, kept_image = dcmread(path), dcmread(_kept(gateway, _sop_uid(path), store_url))
        assert kept_image.PixelData == sent_image.PixelData, name
        assert kept_image.file_meta.TransferSyntaxUID == sent_image.file_meta.TransferSyntaxUID, name


def _profile(tmp_path: Path) -> tuple[Path, str]:
    """A storescu profile that offers each image in its own transfer syntax."""
    pairs = {
        "RGB": ("1.2.840.10008.5.1.4.1.1.7", "1.2.840.10008.1.2.1"),
        "CT": ("1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.1"),
    }
    for name in SYNTAXES:
        source = get_testdata_file(name, download=False)
        assert source is not None
        header = dcmread(source, stop_before_pixels=True)
        pairs[name.replace(".", "").replace("-", "").replace("_", "")] = (
            str(header.SOPClassUID), str(header.file_meta.TransferSyntaxUID),
        )  # fmt: skip
    lines = ["[[TransferSyntaxes]]"]
    lines += [f"[{name}]\nTransferSyntax1={syntax}" for name, (_, syntax) in pairs.items()]
    lines += ["[[PresentationContexts]]", "[All]"]
    lines += [
        f"PresentationContext{number}={sop_class}\\{name}"
        for number, (name, (sop_class, _)) in enumerate(pairs.items(), start=1)
    ]
    lines += ["[[Profiles]]", "[Machine]", "PresentationContexts=All"]
    path = tmp_path / "profile.cfg"
    path.write_text("\n".join(lines))
    return path, "Machine"


def _kept(gateway: Any, sop_uid: str, store_url: str) -> Path:
    from gateway.model.ids import Uid
    from gateway.store import studies
    from gateway.store.database import Database

    database = Database(store_url or f"sqlite:///{gateway.config.parent}/gateway.db")
    with database.read() as tx:
        stored = studies.known(tx, Uid(sop_uid))
    database.close()
    assert stored is not None
    return Path(gateway.config.parent) / "images" / stored.path


def _sop_uid(path: Path) -> str:
    return str(dcmread(path, stop_before_pixels=True).SOPInstanceUID)


def test_an_ehrs_order_goes_the_same_road(serve: Callable[..., Any]) -> None:
    gateway = serve('[fhir.sources.ehr]\nauth = { bearer = "pushers secret" }\n')
    request = {
        "resourceType": "ServiceRequest",
        "id": "9",
        "status": "active",
        "intent": "order",
        "identifier": [{"type": {"coding": [{"code": "ACSN"}]}, "value": "F900"}],
        "code": {"text": "Abdomen ultrasound"},
        "orderDetail": [
            {"coding": [{"system": "http://dicom.nema.org/resources/ontology/DCM", "code": "US"}]}
        ],
        "subject": {"reference": "#p"},
        "occurrenceDateTime": time.strftime("%Y-%m-%dT10:15:00+00:00"),
        "contained": [
            {
                "resourceType": "Patient",
                "id": "p",
                "identifier": [{"type": {"coding": [{"code": "MR"}]}, "value": "MRN900"}],
                "name": [{"family": "Müller", "given": ["Ana"]}],
                "gender": "female",
            }
        ],
    }
    url = f"{gateway.url}/fhir/ehr"
    right = {"Authorization": "Bearer pushers secret"}
    assert httpx.post(url, json=request).status_code == 401
    assert httpx.get(f"{url}/metadata").json()["resourceType"] == "CapabilityStatement"
    for body in (b"{", b'{"a": 1}', b"[]"):
        refused = httpx.post(url, content=body, headers=right)
        assert (refused.status_code, refused.json()["resourceType"]) == (400, "OperationOutcome")
    taken = httpx.post(url, json=request, headers=right)
    assert (taken.status_code, taken.headers["content-type"]) == (200, "application/fhir+json")
    (row,) = _rows(gateway, "orders")
    assert (row["accession"], row["state"], row["patient_name"], row["source"]) == (
        "F900", "scheduled", "Müller^Ana", "ehr",
    )  # fmt: skip
    assert [m["state"] for m in _rows(gateway, "messages")] == ["mapped", "failed", "failed", "failed"]


def test_bad_hl7_is_answered_kept_and_hurts_nobody(
    serve: Callable[..., Any], order: Callable[..., bytes]
) -> None:
    gateway = serve()
    good = order("A1")
    nonsense, unknown, bare, dated, fine = gateway.say_hl7(
        b"this is no HL7",
        good.replace(b"ORM^O01", b"ORU^R01").replace(b"CA1", b"C2"),
        order("").replace(b"|PF|", b"||").replace(b"|P|F|", b"|||").replace(b"|C|P|", b"|C3|P|"),
        order("A4", start="15/03/2026"),
        good,
    )
    assert b"MSA|AR|" in nonsense
    assert b"MSA|AR|C2" in unknown
    assert b"|200^" in unknown or b"|201^" in unknown
    assert b"MSA|AA|" in dated
    assert b"ERR|" in dated
    assert b"15/03/2026" not in dated
    assert b"MSA|AA|CA1" in fine
    assert b"MSA|A" in bare
    states = {row["control_id"]: row["state"] for row in _rows(gateway, "messages")}
    assert (states["C2"], states["CA4"], states["CA1"]) == ("failed", "held", "mapped")
    assert {row["accession"]: row["state"] for row in _rows(gateway, "orders")}["A4"] == "held"


@pytest.mark.dcmtk
@needs_dcmtk
def test_what_is_no_dicom_object_is_refused_and_leaves_nothing(
    serve: Callable[..., Any], tmp_path: Path
) -> None:
    gateway = serve()
    source = get_testdata_file("CT_small.dcm", download=False)
    assert source is not None
    whole = Path(source).read_bytes()
    (tmp_path / "garbage.dcm").write_bytes(b"GET / HTTP/1.1\r\n\r\n" * 200)
    with_garbage = _run(
        "bash", "-c", f"timeout 5 cat {tmp_path}/garbage.dcm > /dev/tcp/127.0.0.1/{gateway.storage}"
    )
    assert "Traceback" not in with_garbage
    cut = tmp_path / "cut.dcm"
    cut.write_bytes(whole)
    image = dcmread(cut)
    del image.StudyInstanceUID
    image.save_as(cut)
    sent = _run("storescu", "-v", "-aec", "STORESCP", "127.0.0.1", gateway.storage, cut)
    assert "Success" not in sent.split("Sending Store Request")[-1].split("Releasing")[0]
    folder = gateway.config.parent / "images"
    assert [path for path in folder.rglob("*") if path.is_file() and path.name != "receiving"] == []
    assert "Success" in _run("echoscu", "-v", "-aec", "STORESCP", "127.0.0.1", gateway.storage)
