"""A record system that takes studies, studies to give it, and messages as record systems send them."""

import json
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.fhir.client import Client
from gateway.fhir.destination import Destination
from gateway.flow.ports import Ports
from gateway.model.delivery import Delivery, DeliveryState
from gateway.model.ids import DeliveryId, InstanceId, OrderId, SeriesId, StudyId, Uid
from gateway.model.study import Instance, PictureState, Series, Study, StudyState

FIXTURES = Path(__file__).parents[2] / "fixtures"
ORDER = OrderId(1)
MOMENT = datetime(2026, 6, 23, 9, 30, 15, 250000, tzinfo=UTC)


@pytest.fixture
def wire() -> Callable[[str], bytes]:
    """The bytes of a message that a record system sends, by name."""
    return lambda name: (FIXTURES / "fhir-wire" / f"{name}.json").read_bytes()


class Ehr:
    """A FHIR server that keeps what it is given; `faults` answer before it does, `afterwards` once it has done it.

    Source: FHIR R4 http.html: create, update, conditional ones, transaction, search; messaging.html.
    """

    def __init__(self) -> None:
        self.resources: dict[str, list[dict[str, Any]]] = {}  # "ImagingStudy/1": its versions
        self.capability: dict[str, Any] = {}
        self.taken: list[dict[str, Any]] = []  # messages, and what a webhook was told
        self.asked: list[Request] = []
        self.bodies: list[bytes] = []
        self.faults: deque[ASGIApp] = deque()
        self.afterwards: deque[ASGIApp] = deque()  # answers in place of ours once the work is done
        self.url = ""
        self.is_silent = False  # whether it says nothing of ids but in a search
        self.app = Starlette(
            routes=[
                Route("/fhir", self._transaction, methods=["POST"]),
                Route("/fhir/metadata", self._metadata),
                Route("/fhir/$process-message", self._message, methods=["POST"]),
                Route("/fhir/{kind}", self._typed, methods=["GET", "POST", "PUT"]),
                Route("/fhir/{kind}/{id}", self._single, methods=["GET", "PUT", "DELETE"]),
                Route("/hook", self._message, methods=["POST"]),
            ]
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self.faults.popleft() if self.faults else self.app
        await app(scope, receive, send)

    @property
    def studies(self) -> dict[str, list[dict[str, Any]]]:
        """The versions of each study, without what the server adds, by the token of its first identifier."""
        found: dict[str, list[dict[str, Any]]] = {}
        for address, versions in self.resources.items():
            if address.startswith("ImagingStudy/"):
                first = versions[-1]["identifier"][0]
                token = f"{first['system']}|{first['value']}"
                plain = [{k: v for k, v in one.items() if k not in ("id", "meta")} for one in versions]
                found.setdefault(token, []).extend(plain)
        return found

    def newest(self, kind: str) -> list[dict[str, Any]]:
        """The newest version of every resource of the kind."""
        return [
            versions[-1] for address, versions in self.resources.items() if address.startswith(f"{kind}/")
        ]

    def put(self, resource: dict[str, Any], own_id: str = "") -> tuple[int, dict[str, Any]]:
        """The resource is there: 201 and it when it is new, 200 and it when it is a new version."""
        name = own_id or str(len(self.resources) + 1)
        versions = self.resources.setdefault(f"{resource['resourceType']}/{name}", [])
        stored = {**resource, "id": name, "meta": {"versionId": str(len(versions) + 1)}}
        versions.append(stored)
        return (201 if len(versions) == 1 else 200), stored

    def find(self, kind: str, token: str) -> list[dict[str, Any]]:
        """What has the identifier."""
        system, _, value = token.partition("|")
        wanted = {"system": system, "value": value}.items()
        return [
            one
            for one in self.newest(kind)
            if any(wanted <= its.items() for its in one.get("identifier", ()))
        ]

    async def _metadata(self, request: Request) -> Response | ASGIApp:
        await self._noted(request)
        return self._done(JSONResponse(self.capability))

    async def _message(self, request: Request) -> Response | ASGIApp:
        self.taken.append(json.loads(await self._noted(request)))
        return self._done(Response(status_code=202))

    async def _typed(self, request: Request) -> Response | ASGIApp:
        body, kind = await self._noted(request), request.path_params["kind"]
        if request.method == "GET":
            found = self.find(kind, request.query_params["identifier"])
            entries = [{"resource": one, "search": {"mode": "match"}} for one in found]
            return self._done(JSONResponse({"resourceType": "Bundle", "type": "searchset", "entry": entries}))
        resource = json.loads(body)
        assert resource["resourceType"] == kind
        if request.method == "PUT":
            return self._done(
                self._answer(*self._conditional(kind, request.query_params["identifier"], resource))
            )
        wanted = request.headers.get("if-none-exist", "")
        found = self.find(kind, unquote(wanted.removeprefix("identifier="))) if wanted else []
        if len(found) > 1:
            return self._done(_outcome(412, "several"))
        return self._done(self._answer(200, found[0]) if found else self._answer(*self.put(resource)))

    async def _single(self, request: Request) -> Response | ASGIApp:
        body = await self._noted(request)
        address = f"{request.path_params['kind']}/{request.path_params['id']}"
        versions = self.resources.get(address)
        if request.method == "GET":
            return self._done(self._answer(200, versions[-1], True) if versions else _outcome(404, "unknown"))
        wanted = request.headers.get("if-match")
        if wanted and not (versions and wanted == f'W/"{versions[-1]["meta"]["versionId"]}"'):
            return self._done(_outcome(412 if versions else 404, "another version"))
        resource = json.loads(body)
        assert f"{resource['resourceType']}/{resource['id']}" == address
        plain = {name: value for name, value in resource.items() if name != "meta"}
        return self._done(self._answer(*self.put(plain, resource["id"])))

    async def _transaction(self, request: Request) -> Response | ASGIApp:
        bundle = json.loads(await self._noted(request))
        assert (bundle["resourceType"], bundle["type"]) == ("Bundle", "transaction")
        places: dict[str, str] = {}
        for entry in bundle["entry"]:
            assert entry["request"]["method"] == "PUT"
            kind, _, token = _target(entry)
            found = self.find(kind, token)
            name = found[0]["id"] if found else f"t{len(self.resources) + len(places) + 1}"
            places[entry["fullUrl"]] = f"{kind}/{name}"
        answers = []
        for entry in bundle["entry"]:
            text = json.dumps(entry["resource"])
            for name, place in places.items():
                text = text.replace(f'"reference": "{name}"', f'"reference": "{place}"')
            status, _ = self.put(json.loads(text), places[entry["fullUrl"]].partition("/")[2])
            answers.append({"response": {"status": {200: "200", 201: "201 Created"}[status]}})
        done = {"resourceType": "Bundle", "type": "transaction-response", "entry": answers}
        return self._done(JSONResponse(done))

    async def _noted(self, request: Request) -> bytes:
        body = await request.body()
        self.asked.append(request)
        self.bodies.append(body)
        return body

    def _conditional(self, kind: str, token: str, resource: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Source: FHIR R4 http.html, conditional update."""
        system, _, value = token.partition("|")
        assert any(
            {"system": system, "value": value}.items() <= one.items() for one in resource["identifier"]
        )
        assert "id" not in resource
        found = self.find(kind, token)
        return self.put(resource, found[0]["id"] if found else "")

    def _answer(self, status: int, stored: dict[str, Any], is_read: bool = False) -> Response:
        if is_read:
            return JSONResponse(stored, headers={"ETag": f'W/"{stored["meta"]["versionId"]}"'})
        if self.is_silent:
            return Response(status_code=status)
        version = stored["meta"]["versionId"]
        address = f"{self.url}/{stored['resourceType']}/{stored['id']}/_history/{version}"
        return Response(status_code=status, headers={"Location": address, "ETag": f'W/"{version}"'})

    def _done(self, response: Response) -> Response | ASGIApp:
        return self.afterwards.popleft() if self.afterwards else response


def _target(entry: dict[str, Any]) -> tuple[str, str, str]:
    kind, _, query = entry["request"]["url"].partition("?")
    name, _, token = query.partition("=")
    return kind, name, unquote(token)


def _outcome(status: int, text: str) -> Response:
    issue = {"severity": "error", "code": "processing", "diagnostics": text}
    return JSONResponse({"resourceType": "OperationOutcome", "issue": [issue]}, status)


@pytest.fixture(scope="session")
def running_ehr() -> Iterator[Ehr]:
    """A record system on a port of this computer."""
    system = Ehr()
    listening = socket.create_server(("127.0.0.1", 0))
    system.url = f"http://127.0.0.1:{listening.getsockname()[1]}/fhir"
    config = uvicorn.Config(
        system, http="h11", ws="none", loop="asyncio", lifespan="off", log_config=None, date_header=False
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    yield system
    server.should_exit = True
    server.force_exit = True
    thread.join(10)
    listening.close()


@pytest.fixture
def ehr(running_ehr: Ehr) -> Ehr:
    """The record system, empty and well."""
    running_ehr.resources.clear()
    running_ehr.capability.clear()
    running_ehr.taken.clear()
    running_ehr.asked.clear()
    running_ehr.bodies.clear()
    running_ehr.faults.clear()
    running_ehr.afterwards.clear()
    running_ehr.is_silent = False
    return running_ehr


def _entry(kind: str, system: str, value: str, **elements: Any) -> dict[str, Any]:
    url = f"{kind}?identifier={system}%7C{value}"
    resource = {"resourceType": kind, "identifier": [{"system": system, "value": value}], **elements}
    own = value.removeprefix("urn:oid:")
    name = f"urn:oid:{own}" if kind == "ImagingStudy" else f"urn:uuid:{kind.lower()}-1"
    return {"fullUrl": name, "resource": resource, "request": {"method": "PUT", "url": url}}


@pytest.fixture
def whole() -> Callable[..., Delivery]:
    """News of a study with all that can go with it, as a transaction Bundle whose last entry comes first."""

    def make(
        *, number: int = 1, images: int = 3, key: str = "2.25.1001", destination: str = "ehr"
    ) -> Delivery:
        study = {"reference": f"urn:oid:{key}"}
        measured = '{"value":52.10,"unit":"mm","system":"http://unitsofmeasure.org","code":"mm"}'
        report = _entry(
            "DiagnosticReport",
            "urn:gw:report",
            key,
            status="preliminary",
            imagingStudy=[study],
            result=[{"reference": "urn:uuid:observation-1"}],
        )
        observation = _entry(
            "Observation",
            "urn:gw:measurement",
            f"{key}.1",
            status="preliminary",
            code={"coding": [{"system": "http://loinc.org", "code": "11820-8", "display": "Biparietal"}]},
            derivedFrom=[study],
            valueQuantity="MEASURED",
        )
        endpoint = _entry(
            "Endpoint", "urn:gw:endpoint", "web", status="active", address="https://gw.example/dicom-web"
        )
        whole = _entry(
            "ImagingStudy",
            "urn:dicom:uid",
            f"urn:oid:{key}",
            status="available",
            subject={"reference": "Patient/7"},
            modality=[{"system": "http://dicom.nema.org/resources/ontology/DCM", "code": "US"}],
            endpoint=[{"reference": "urn:uuid:endpoint-1"}],
            numberOfSeries=1,
            numberOfInstances=images,
            series=[{"uid": f"{key}.2", "modality": {"code": "US"}, "numberOfInstances": images}],
        )
        entries = [report, observation, endpoint, whole]
        bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
        return Delivery(
            id=DeliveryId(number),
            destination=destination,
            kind="ImagingStudy",
            key=key,
            order_id=None,
            payload=json.dumps(bundle).replace('"MEASURED"', measured).encode(),
            in_turn=False,
            state=DeliveryState.SENDING,
            attempts=1,
            next_at=MOMENT,
            error="",
            created_at=MOMENT,
            delivered_at=None,
        )

    return make


@pytest.fixture
def connect(ports: Ports) -> Iterator[Callable[..., Client]]:
    """Clients of destinations, closed at the end."""
    opened: list[Client] = []

    def make(*destinations: Destination, timeout_s: float = 5) -> Client:
        opened.append(Client(destinations, ports, timeout_s=timeout_s))
        return opened[-1]

    yield make
    for client in opened:
        client.close()


@pytest.fixture
def single() -> Study:
    """One ultrasound picture."""
    return _study(1, "A1", [_series(1, "US", "1", ("1.2.840.10008.5.1.4.1.1.6.1", "1"))])


@pytest.fixture
def several() -> Study:
    """A CT with a report, ordered by nobody; only its day is known, and numbers are missing or senseless."""
    series = [
        _series(2, "SR", "99", ("1.2.840.10008.5.1.4.1.1.88.33", "")),
        _series(1, "CT", " 1 ", ("1.2.840.10008.5.1.4.1.1.2", "1"), ("1.2.840.10008.5.1.4.1.1.2", "2")),
        _series(3, "CT", "-4", ("1.2.840.10008.5.1.4.1.1.2", "2147483648")),
    ]
    return _study(2, "", series, started=None, issuer="1.2.826.0.1.3680043.10.1", order_id=None)


def _study(
    number: int,
    accession: str,
    series: list[Series],
    *,
    started: datetime | None = MOMENT,
    issuer: str = "GENHOSP",
    order_id: OrderId | None = ORDER,
) -> Study:
    return Study(
        id=StudyId(number),
        study_uid=Uid(f"2.25.100{number}"),
        order_id=order_id,
        state=StudyState.COMPLETE,
        accession=accession,
        patient_id="MRN1",
        issuer=issuer,
        patient_name="Doe^Jane",
        birth_date="19800214",
        sex="F",
        study_id="S1",
        started=started,
        study_date="20260623",
        description="Abdomen, Übersicht",
        calling_ae="US1",
        doubt="",
        first_at=MOMENT,
        last_at=MOMENT,
        completed_at=MOMENT,
        series=tuple(series),
        measurements=(),
    )


def _series(row: int, modality: str, number: str, *instances: tuple[str, str]) -> Series:
    uid = f"2.25.200{row}"
    return Series(
        id=SeriesId(row),
        series_uid=Uid(uid),
        modality=modality,
        number=number,
        description="",
        instances=tuple(
            Instance(
                id=InstanceId(row * 100 + place),
                sop_uid=Uid(f"{uid}.{place}"),
                sop_class=Uid(sop_class),
                transfer_syntax=Uid("1.2.840.10008.1.2.1"),
                number=instance_number,
                frames=1,
                path="",
                size=1,
                sha256="",
                picture=PictureState.READY,
                thumbnail="",
                received_at=MOMENT,
            )
            for place, (sop_class, instance_number) in enumerate(instances, start=1)
        ),
    )
