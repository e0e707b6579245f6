"""A record system that takes studies, studies to give it, and messages as record systems send them."""

import json
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.model.ids import InstanceId, OrderId, SeriesId, StudyId, Uid
from gateway.model.study import Instance, PictureState, Series, Study, StudyState

FIXTURES = Path(__file__).parents[2] / "fixtures"
ORDER = OrderId(1)
MOMENT = datetime(2026, 6, 23, 9, 30, 15, 250000, tzinfo=UTC)


@pytest.fixture
def wire() -> Callable[[str], bytes]:
    """The bytes of a message that a record system sends, by name."""
    return lambda name: (FIXTURES / "fhir-wire" / f"{name}.json").read_bytes()


class Ehr:
    """A FHIR server that keeps studies by conditional update and transaction; `faults` answer before it does."""

    def __init__(self) -> None:
        self.studies: dict[str, list[dict[str, Any]]] = {}  # identifier token: the versions of that study
        self.asked: list[Request] = []
        self.bodies: list[bytes] = []
        self.faults: deque[ASGIApp] = deque()
        self.afterwards: deque[ASGIApp] = deque()  # answers in place of ours once the work is done
        self.url = ""
        self.app = Starlette(
            routes=[
                Route("/fhir", self._transaction, methods=["POST"]),
                Route("/fhir/ImagingStudy", self._update, methods=["PUT"]),
            ]
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self.faults.popleft() if self.faults else self.app
        await app(scope, receive, send)

    async def _update(self, request: Request) -> Response | ASGIApp:
        body = await self._noted(request)
        status = self._write(request.query_params["identifier"], json.loads(body))
        return self._done(JSONResponse({"resourceType": "ImagingStudy"}, status))

    async def _transaction(self, request: Request) -> Response | ASGIApp:
        bundle = json.loads(await self._noted(request))
        assert (bundle["resourceType"], bundle["type"]) == ("Bundle", "transaction")
        answers = []
        for entry in bundle["entry"]:
            assert entry["request"]["method"] == "PUT"
            path, _, query = entry["request"]["url"].partition("?identifier=")
            assert path == "ImagingStudy"
            status = self._write(query.replace("%7C", "|"), entry["resource"])
            answers.append({"response": {"status": {200: "200", 201: "201 Created"}[status]}})
        done = {"resourceType": "Bundle", "type": "transaction-response", "entry": answers}
        return self._done(JSONResponse(done))

    async def _noted(self, request: Request) -> bytes:
        body = await request.body()
        self.asked.append(request)
        self.bodies.append(body)
        return body

    def _write(self, token: str, study: dict[str, Any]) -> int:
        """201 for a new study, 200 for a new version of one. Source: FHIR R4 http.html, conditional update."""
        system, _, value = token.partition("|")
        assert {"system": system, "value": value}.items() <= study["identifier"][0].items()
        assert "id" not in study
        versions = self.studies.setdefault(token, [])
        versions.append(study)
        return 201 if len(versions) == 1 else 200

    def _done(self, response: Response) -> Response | ASGIApp:
        return self.afterwards.popleft() if self.afterwards else response


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
    for kept in (running_ehr.studies, running_ehr.asked, running_ehr.bodies, running_ehr.faults):
        kept.clear()
    running_ehr.afterwards.clear()
    return running_ehr


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
