"""The HTTP side of /fhir/{source}: who may push, how much, and the answer, which leaves after the commit."""

import logging
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.fhir import held_resources
from gateway.fhir.admission import Door
from gateway.fhir.answer import render_answer
from gateway.fhir.asked import CREATE, DELETE, Asked
from gateway.fhir.auth import Source
from gateway.fhir.capability import render_capability
from gateway.fhir.classify import XML, address_in
from gateway.fhir.exact import encode_exact
from gateway.fhir.holding import known_to
from gateway.fhir.interpret import OUR_FAULT, Understood, not_a_message, not_understood, understand
from gateway.fhir.outcome import encode
from gateway.fhir.pushing import Attempt
from gateway.fhir.responding import answer, refusal
from gateway.flow.lane import Lane
from gateway.flow.ports import Ports
from gateway.flow.receive import Answered, receive
from gateway.mapping.registry import Modules
from gateway.model.connection import STATE, Connection
from gateway.model.errors import Unavailable
from gateway.model.message import Inbound, Protocol, Receipt

log = logging.getLogger(__name__)

PROCESS_MESSAGE = "$process-message"
MAX_BYTES = 8 * 1024 * 1024
RETRY_AFTER_S = 5

_NOT_TAKEN = "the gateway failed to take the message; it may be sent again"
_OFFERED = {1: "POST", 2: "GET, POST", 3: "DELETE, GET, PUT"}  # by how many parts the address has below /fhir
_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]


class _TooLarge(Exception):
    """The body is longer than allowed."""


class _Unreadable(Exception):
    """The body is packed in a way that is not read, or not as its header says."""


def routes(
    ports: Ports,
    modules: Callable[[], Modules],
    sources: Mapping[str, Source],
    *,
    door: Door | None = None,
    max_bytes: int = MAX_BYTES,
) -> list[Route]:
    """The routes under /fhir. `modules` gives the mapping in use at each message; bodies are bounded by `max_bytes`."""
    edge = _Edge(
        ports=ports,
        modules=modules,
        sources=sources,
        door=door or Door(ports),
        max_bytes=max_bytes,
        lane=Lane("fhir", ports.database, lambda push: push()),
    )
    base = "/fhir/{source}"
    return [
        Route(f"{base}/metadata", edge.show_capability, methods=["GET"]),
        Route(base, edge.take, methods=["POST"]),
        Route(f"{base}/", edge.take, methods=["POST"]),
        Route(f"{base}/{{resource_type}}", edge.take, methods=["POST"]),
        Route(f"{base}/{{resource_type}}", edge.search, methods=["GET"]),
        Route(f"{base}/{{resource_type}}/_search", edge.search, methods=["POST"]),
        Route(f"{base}/{{resource_type}}/{{resource_id}}", edge.show, methods=["GET"]),
        Route(f"{base}/{{resource_type}}/{{resource_id}}", edge.take, methods=["PUT", "DELETE"]),
        Route(f"{base}/{{resource_type}}/{{resource_id}}/$cancel-order", edge.take, methods=["POST"]),
        Route("/fhir/{rest:path}", edge.refuse, methods=_METHODS),
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Edge:
    """What the routes share."""

    ports: Ports
    modules: Callable[[], Modules]
    sources: Mapping[str, Source]
    door: Door
    max_bytes: int
    lane: Lane[Callable[[], Response], Response]

    async def show_capability(self, request: Request) -> Response:
        """Open to all, as FHIR asks: it tells nothing about patients. Source: FHIR R4 http.html, capabilities."""
        source = self._source(request)
        if source is None:
            return _unknown()
        return answer(200, encode(render_capability(source, at=self.ports.clock(), address=_base(request))))

    async def refuse(self, request: Request) -> Response:
        """404 for an address that is none, 405 for what cannot be done at one."""
        depth = len(request.path_params["rest"].strip("/").split("/"))
        source = request.path_params["rest"].partition("/")[0].partition("~")[0]
        if source not in self.sources:
            return _unknown()
        if depth not in _OFFERED:
            return refusal(404, "not-found", "there is nothing at this address")
        text = f"{request.method} is not offered here; see metadata"
        return refusal(405, "not-supported", text, {"Allow": _OFFERED[depth]})

    async def show(self, request: Request) -> Response:
        """A resource that is held of the source."""
        admitted = await self._admitted(request)
        if isinstance(admitted, Response):
            return admitted
        kind, own_id = request.path_params["resource_type"], request.path_params["resource_id"]
        return await run_in_threadpool(
            held_resources.show, self.ports.database, admitted.source.name, kind, own_id
        )

    async def search(self, request: Request) -> Response:
        """The resources of a type that are held of the source."""
        admitted = await self._admitted(request)
        if isinstance(admitted, Response):
            return admitted
        posted = parse_qsl(admitted.body.decode("utf-8", errors="replace"))
        asked = [*request.query_params.multi_items(), *posted]
        kind = request.path_params["resource_type"]
        return await run_in_threadpool(
            held_resources.search, self.ports.database, admitted.source.name, kind, asked, base=_base(request)
        )

    async def take(self, request: Request) -> Response:
        """The answer to what was pushed, created, updated or deleted."""
        source = self._source(request)
        if source is None:
            return _unknown()
        packed = await self._packed(source, request)
        if isinstance(packed, Response):
            return packed
        if not source.has_issuer:
            return await self.lane.take(lambda: self._pushed(source, request, packed))
        opened = await run_in_threadpool(self._opened, source, request, packed)
        if isinstance(opened, Response):
            return opened
        return await self.lane.take(lambda: self._brought(source, request, opened))

    def _pushed(self, source: Source, request: Request, packed: bytes) -> Response:
        """The answer to a push whose body has come. Runs in the lane."""
        opened = self._opened(source, request, packed)
        return opened if isinstance(opened, Response) else self._brought(source, request, opened)

    def _brought(self, source: Source, request: Request, read: bytes) -> Response:
        """The answer to a push of a sender who may. Runs in the lane."""
        pushed = _Pushed(
            raw=read,
            peer=_peer(request),
            asked=_asked(request),
            condition=request.headers.get("if-none-exist", ""),
            prefers=request.headers.get("prefer", ""),
            base=_base(request),
            is_message=request.path_params.get("resource_type") == PROCESS_MESSAGE,
        )
        return self._take(pushed, source)

    async def _admitted(self, request: Request) -> "_Admitted | Response":
        """A request of a sender who may push, which brings nothing; else why it is refused."""
        source = self._source(request)
        if source is None:
            return _unknown()
        packed = await self._packed(source, request)
        if isinstance(packed, Response):
            return packed
        read = await run_in_threadpool(self._opened, source, request, packed)
        return read if isinstance(read, Response) else _Admitted(source=source, body=read)

    async def _packed(self, source: Source, request: Request) -> bytes | Response:
        """The body as it came; else why it is refused."""
        try:
            return await _body(request, self.max_bytes)
        except _TooLarge:
            return self._too_large(source, request)
        except ClientDisconnect:
            log.info("fhir.hung_up", extra={"source": source.name, "peer": _peer(request)})
            return refusal(400, "incomplete", "the body ended early")

    def _opened(self, source: Source, request: Request, packed: bytes) -> bytes | Response:
        """The body of a sender who may push, unpacked; else why it is refused. Runs in a thread."""
        if (refused := self._refused(source, request, packed)) is not None:
            return refused
        try:
            return _unpacked(request, packed, self.max_bytes)
        except _TooLarge:
            return self._too_large(source, request)
        except _Unreadable:
            log.warning("fhir.not_unpacked", extra={"source": source.name, "peer": _peer(request)})
            return refusal(
                415, "not-supported", "Content-Encoding: only gzip is read, and the body must be it"
            )

    def _too_large(self, source: Source, request: Request) -> Response:
        log.warning("fhir.too_large", extra={"source": source.name, "peer": _peer(request)})
        return refusal(413, "too-long", f"the body is longer than {self.max_bytes} bytes")

    def _refused(self, source: Source, request: Request, body: bytes) -> Response | None:
        attempt = Attempt(
            headers={name.lower(): value for name, value in request.headers.items()},
            secret=request.path_params["source"].partition("~")[2],
            peer=_peer(request),
            connection=getattr(request.state, STATE, Connection(address=_peer(request))),
            body=body,
        )
        return self.door.refused(source, attempt)

    def _take(self, pushed: "_Pushed", source: Source) -> Response:
        """Nothing may escape it."""
        try:
            there = self._existing(pushed, source)
            if there is not None:
                return there
            understood = self._understood(pushed, source)
            answered = self._received(pushed, source, understood)
        except Unavailable:
            log.exception("fhir.unavailable", extra={"source": source.name})
            return refusal(503, "transient", _NOT_TAKEN, {"Retry-After": str(RETRY_AFTER_S)})
        except Exception:
            log.exception("fhir.failed", extra={"source": source.name})
            return refusal(500, "exception", _NOT_TAKEN)
        extra = {"source": source.name, "message_id": answered.message_id, "state": answered.state}
        log.info("fhir.repeat" if answered.is_repeat else "fhir.received", extra=extra)
        return _rendered(pushed, understood, answered)

    def _existing(self, pushed: "_Pushed", source: Source) -> Response | None:
        """The answer to a create on the condition that there is none yet, when there is one."""
        asked = pushed.asked
        if asked is None or asked.method != CREATE or not pushed.condition:
            return None
        return held_resources.existing(self.ports.database, source.name, asked.type, pushed.condition)

    def _understood(self, pushed: "_Pushed", source: Source) -> Understood:
        """The meaning of the body; also of one at which we fail, for it is kept all the same."""
        try:
            at = self.ports.clock()
            known = known_to(self.ports.database, source.name, stale_before=source.stale_before(at))
            understood = understand(
                pushed.raw, source, self.modules(), request=pushed.request, known=known, at=at
            )
            is_refused = pushed.is_message and understood.is_no_message
            return not_a_message(pushed.raw, source) if is_refused else understood
        except Exception:
            log.exception("fhir.not_interpreted", extra={"source": source.name})
            return not_understood(pushed.raw, source)

    def _received(self, pushed: "_Pushed", source: Source, understood: Understood) -> Answered:
        def render(receipt: Receipt) -> bytes:
            return encode(render_answer(understood, receipt))

        inbound = Inbound(
            protocol=Protocol.FHIR,
            source=source.name,
            peer=pushed.peer,
            raw=pushed.raw,
            request=pushed.request,
        )
        return receive(self.ports, inbound, lambda _: understood.interpretation, render)

    def _source(self, request: Request) -> Source | None:
        return self.sources.get(request.path_params["source"].partition("~")[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Admitted:
    """Who asks, and the body of the request."""

    source: Source
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pushed:
    """A request that brings something."""

    raw: bytes
    peer: str
    asked: Asked | None
    condition: str  # If-None-Exist
    prefers: str  # Prefer
    base: str  # our address for the source
    is_message: bool  # it came to $process-message

    @property
    def request(self) -> str:
        """What is kept with the bytes."""
        return str(self.asked) if self.asked is not None else ""


def _asked(request: Request) -> Asked | None:
    """What the request asks of one resource; None when its body says all.

    Source: FHIR R4 http.html; Medplum tells of a deletion by a header and an empty object.
    """
    deleted = address_in(request.headers.get("x-medplum-deleted-resource", ""))
    if deleted:
        kind, _, own_id = deleted.partition("/")
        return Asked(method=DELETE, type=kind, id=own_id)
    kind, own_id = (request.path_params.get(name, "") for name in ("resource_type", "resource_id"))
    if not (kind.isascii() and kind.isalpha() and kind[0].isupper()):
        return None
    is_cancel = own_id and request.method == CREATE  # $cancel-order
    return Asked(method=DELETE if is_cancel else request.method, type=kind, id=own_id)


def _rendered(pushed: _Pushed, understood: Understood, answered: Answered) -> Response:
    """The answer as its sender prefers it. Source: FHIR R4 http.html: create, update, Prefer."""
    status, asked, arrival = _status(understood), pushed.asked, understood.arrival
    is_stored = asked is not None and asked.method != DELETE and arrival is not None
    if status != 200 or not is_stored or asked is None or arrival is None or arrival.type != asked.type:
        return answer(status, answered.answer)
    stored = encode_exact(arrival.resource)
    meta = arrival.resource.get("meta")
    version = str(meta.get("versionId") or "") if isinstance(meta, dict) else ""
    headers = {"ETag": held_resources.etag_of(stored, version)}
    is_new = asked.method == CREATE
    if is_new:
        headers["Location"] = f"{pushed.base}/{arrival.type}/{arrival.resource['id']}"
    wish = pushed.prefers.replace(" ", "").lower()
    if "return=minimal" in wish:
        return answer(201 if is_new else 200, b"", headers)
    is_echo = "return=representation" in wish or (is_new and "return=operationoutcome" not in wish)
    return answer(201 if is_new else 200, stored if is_echo else answered.answer, headers)


def _status(understood: Understood) -> int:
    """400 and 415 are for what is no FHIR JSON alone: senders switch off a receiver that answers 4xx to what they
    can send."""
    interpretation = understood.interpretation
    if interpretation.failure_code == OUR_FAULT:
        return 500
    if understood.arrival is not None:
        return 200
    return 415 if interpretation.failure == XML else 400


async def _body(request: Request, max_bytes: int) -> bytes:
    """The body as it came, read no further than allowed. Raises _TooLarge, ClientDisconnect."""
    announced = request.headers.get("content-length", "")
    if announced.isascii() and announced.isdigit() and len(announced) < 20 and int(announced) > max_bytes:
        raise _TooLarge
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > max_bytes:
            raise _TooLarge
    return bytes(body)


def _unpacked(request: Request, body: bytes, max_bytes: int) -> bytes:
    """The body as it was before its sender packed it. Raises _TooLarge, _Unreadable."""
    packing = request.headers.get("content-encoding", "").strip().lower()
    if not body or packing in ("identity", ""):
        return body
    if packing not in ("gzip", "x-gzip"):
        raise _Unreadable
    unpacking = zlib.decompressobj(16 + zlib.MAX_WBITS)  # 16: with the header of gzip
    try:
        found = unpacking.decompress(body, max_bytes + 1)
    except zlib.error:
        raise _Unreadable from None
    if len(found) > max_bytes:
        raise _TooLarge
    if not unpacking.eof:
        raise _Unreadable
    return found


def _base(request: Request) -> str:
    """Our address for the source, without the secret that may stand in it."""
    root = str(request.base_url).rstrip("/")
    return f"{root}/fhir/{request.path_params['source'].partition('~')[0]}"


def _peer(request: Request) -> str:
    return request.client.host if request.client else ""


def _unknown() -> Response:
    return refusal(404, "not-found", "no source of that name is configured")
