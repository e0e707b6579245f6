"""The simulated EHR: a small FHIR R4 server that remembers everything it was sent.

It answers read, search by identifier, create, update, conditional update and transactions the way FHIR R4
(http.html) says, refuses resources that break R4 and, when a token is set, whoever does not show it.
"""

import json
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.model.errors import Unavailable
from gateway.simulate.resources import Json, Resources, Turned, Written, outcome, read_query

MEDIA_TYPE = "application/fhir+json"
START_S = 10.0

_READABLE = ("application/fhir+json", "application/json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A request that reached the EHR, and the status it was answered with."""

    method: str
    url: str  # path and query
    body: bytes
    status: int

    @property
    def is_conditional_update(self) -> bool:
        """Whether it wrote a resource by a search, alone or in a transaction, and was taken."""
        if self.status not in (200, 201):
            return False
        if self.method == "PUT":
            return "?" in self.url
        entries = json.loads(self.body).get("entry", []) if self.method == "POST" else []
        requests = [entry.get("request", {}) for entry in entries]
        return any(request.get("method") == "PUT" and "?" in request.get("url", "") for request in requests)


class Ehr:
    """The server. `token`, when given, must come with every request but `metadata`, as a bearer token."""

    def __init__(self, *, token: str | None = None) -> None:
        self._token = token
        self._lock = threading.Lock()
        self._resources = Resources()
        self._received: list[Received] = []
        self.app = Starlette(
            routes=[
                Route("/fhir/metadata", self._answering(_capabilities), methods=["GET"]),
                Route("/fhir", self._answering(self._transact), methods=["POST"]),
                Route("/fhir/", self._answering(self._transact), methods=["POST"]),
                Route("/fhir/{kind}", self._answering(self._search), methods=["GET"]),
                Route("/fhir/{kind}", self._answering(self._create), methods=["POST"]),
                Route("/fhir/{kind}", self._answering(self._put_where), methods=["PUT"]),
                Route("/fhir/{kind}/{id}", self._answering(self._read), methods=["GET"]),
                Route("/fhir/{kind}/{id}", self._answering(self._put), methods=["PUT"]),
            ]
        )

    @property
    def received(self) -> tuple[Received, ...]:
        """Every request so far, in order."""
        with self._lock:
            return tuple(self._received)

    def held(self, kind: str) -> tuple[Json, ...]:
        """The resources of a type, oldest first."""
        with self._lock:
            return self._resources.of_type(kind)

    def add(self, resource: Json) -> Json:
        """A resource put there by the hospital itself, as it is now held. Raises Turned when it breaks R4."""
        with self._lock:
            return self._resources.create(str(resource.get("resourceType")), resource).resource

    def _answering(self, answer: Callable[[Request, Json], Response]) -> Callable[[Request], Any]:
        async def endpoint(request: Request) -> Response:
            raw = await request.body()
            with self._lock:
                response = self._answered(request, raw, answer)
                url = request.url.path + (f"?{request.url.query}" if request.url.query else "")
                self._received.append(
                    Received(method=request.method, url=url, body=raw, status=response.status_code)
                )
            return response

        return endpoint

    def _answered(
        self, request: Request, raw: bytes, answer: Callable[[Request, Json], Response]
    ) -> Response:
        try:
            if request.url.path != "/fhir/metadata":
                self._admit(request)
            return answer(request, _read_body(request, raw))
        except Turned as turned:
            return _json(outcome(turned.code, str(turned)), turned.status)

    def _admit(self, request: Request) -> None:
        shown = request.headers.get("authorization", "").encode()
        if self._token is not None and not secrets.compare_digest(shown, f"Bearer {self._token}".encode()):
            raise Turned(401, "login", "Authorization: a valid bearer token is required")

    def _transact(self, _request: Request, body: Json) -> Response:
        if body.get("resourceType") != "Bundle" or body.get("type") != "transaction":
            raise Turned(400, "invalid", "Bundle.type: a transaction is expected here")
        entries = [{"response": _entry_response(written)} for written in self._resources.transact(body)]
        return _json({"resourceType": "Bundle", "type": "transaction-response", "entry": entries})

    def _search(self, request: Request, _body: Json) -> Response:
        found = self._resources.search(request.path_params["kind"], read_query(request.url.query))
        base = str(request.base_url)
        entries = [
            {"fullUrl": f"{base}fhir/{each['resourceType']}/{each['id']}", "resource": each} for each in found
        ]
        return _json({"resourceType": "Bundle", "type": "searchset", "total": len(found), "entry": entries})

    def _create(self, request: Request, body: Json) -> Response:
        unless = read_query(request.headers.get("if-none-exist", ""))
        return _written(request, self._resources.create(request.path_params["kind"], body, unless))

    def _put_where(self, request: Request, body: Json) -> Response:
        query = read_query(request.url.query)
        return _written(request, self._resources.put_where(request.path_params["kind"], query, body))

    def _read(self, request: Request, _body: Json) -> Response:
        return _json(self._resources.read(request.path_params["kind"], request.path_params["id"]))

    def _put(self, request: Request, body: Json) -> Response:
        kind, resource_id = request.path_params["kind"], request.path_params["id"]
        return _written(request, self._resources.put(kind, resource_id, body))


@contextmanager
def serving(ehr: Ehr, port: int = 0, host: str = "127.0.0.1") -> Iterator[str]:
    """The base URL, ".../fhir", under which `ehr` answers until the block ends; port 0 takes a free one.

    Raises Unavailable when the port cannot be opened.
    """
    opened = _opened(host, port)
    config = uvicorn.Config(ehr.app, log_config=None, access_log=False, lifespan="off", ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [opened]}, name="ehr", daemon=True)
    thread.start()
    try:
        _await_start(server, thread)
        yield f"http://{host}:{opened.getsockname()[1]}/fhir"
    finally:
        server.should_exit = True
        thread.join(START_S)
        opened.close()


def serve(port: int, *, host: str = "127.0.0.1", token: str | None = None) -> None:
    """An EHR on `port` until the process is told to stop. Raises Unavailable when the port cannot be opened."""
    config = uvicorn.Config(Ehr(token=token).app, log_level="warning", lifespan="off", ws="none")
    with _opened(host, port) as opened, suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[opened])


def _opened(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port))
    except OSError as error:
        raise Unavailable(f"EHR port {port}: cannot be opened: {error.strerror}") from error


def _await_start(server: uvicorn.Server, thread: threading.Thread) -> None:
    deadline = time.monotonic() + START_S
    while not server.started:
        if not thread.is_alive() or time.monotonic() > deadline:
            raise Unavailable("EHR: the server did not start")
        time.sleep(0.01)


def _capabilities(_request: Request, _body: Json) -> Response:
    """Source: FHIR R4 capabilitystatement.html."""
    study = {
        "type": "ImagingStudy",
        "interaction": [{"code": code} for code in ("read", "search-type", "create", "update")],
        "conditionalCreate": True,
        "conditionalUpdate": True,
        "searchParam": [{"name": "identifier", "type": "token"}],
    }
    rest = {"mode": "server", "resource": [study], "interaction": [{"code": "transaction"}]}
    return _json(
        {
            "resourceType": "CapabilityStatement",
            "status": "active",
            "date": "2026-01-01",
            "kind": "instance",
            "implementation": {"description": "Simulated EHR"},
            "fhirVersion": "4.0.1",
            "format": ["json"],
            "rest": [rest],
        }
    )


def _read_body(request: Request, raw: bytes) -> Json:
    if request.method == "GET":
        return {}
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type not in _READABLE:
        raise Turned(415, "not-supported", f"Content-Type: {MEDIA_TYPE} is expected")
    try:
        body = json.loads(raw)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise Turned(400, "structure", "body: no JSON object")
    return body


def _written(request: Request, written: Written) -> Response:
    response = _json(written.resource, written.status)
    response.headers["ETag"] = f'W/"{written.version}"'
    response.headers["Location"] = f"{request.base_url}fhir/{written.path}"
    return response


def _entry_response(written: Written) -> Json:
    words = {200: "200 OK", 201: "201 Created"}
    return {"status": words[written.status], "location": written.path, "etag": f'W/"{written.version}"'}


def _json(resource: Json, status: int = 200) -> Response:
    return Response(json.dumps(resource), status, media_type=MEDIA_TYPE)
