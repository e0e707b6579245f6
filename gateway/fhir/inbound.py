"""The HTTP side of /fhir/{source}: who may push, how much, and the answer, which leaves after the commit."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.fhir.answer import render_answer
from gateway.fhir.auth import Source, challenge, is_admitted
from gateway.fhir.capability import render_capability
from gateway.fhir.holding import known_to
from gateway.fhir.interpret import OUR_FAULT, Understood, not_understood, understand
from gateway.fhir.outcome import MEDIA_TYPE, Issue, encode, render_outcome
from gateway.flow.ports import Ports
from gateway.flow.receive import Answered, receive
from gateway.mapping.registry import Modules
from gateway.model.errors import Unavailable
from gateway.model.message import Inbound, Protocol, Receipt

log = logging.getLogger(__name__)

MAX_BYTES = 8 * 1024 * 1024
RETRY_AFTER_S = 5

_NOT_TAKEN = "the gateway failed to take the message; it may be sent again"


class _TooLarge(Exception):
    """The body is longer than allowed."""


def routes(
    ports: Ports,
    modules: Callable[[], Modules],
    sources: Mapping[str, Source],
    *,
    max_bytes: int = MAX_BYTES,
) -> list[Route]:
    """The routes under /fhir. `modules` gives the mapping in use at each message; bodies are bounded by `max_bytes`."""
    edge = _Edge(ports=ports, modules=modules, sources=sources, max_bytes=max_bytes)
    return [
        Route("/fhir/{source}/metadata", edge.show_capability, methods=["GET"]),
        Route("/fhir/{source}", edge.take, methods=["POST"]),
        Route("/fhir/{source}/{resource_type}", edge.take, methods=["POST"]),
        Route("/fhir/{source}/{resource_type}/{resource_id}", edge.take, methods=["PUT"]),
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Edge:
    """What the routes share."""

    ports: Ports
    modules: Callable[[], Modules]
    sources: Mapping[str, Source]
    max_bytes: int

    async def show_capability(self, request: Request) -> Response:
        """Open to all, as FHIR asks: it tells nothing about patients. Source: FHIR R4 http.html, capabilities."""
        source = self._source(request)
        if source is None:
            return _unknown()
        address = str(request.url).partition("?")[0].removesuffix("/metadata")
        return _answer(200, encode(render_capability(source, at=self.ports.clock(), address=address)))

    async def take(self, request: Request) -> Response:
        """The answer to a pushed resource. The path's type and id are not looked at: the body says what it is."""
        source = self._source(request)
        if source is None:
            return _unknown()
        if not is_admitted(source, request.headers.get("authorization", "")):
            log.warning("fhir.not_admitted", extra={"source": source.name, "peer": _peer(request)})
            return _refusal(401, "login", "the sender is not known", {"WWW-Authenticate": challenge(source)})
        try:
            raw = await _body(request, self.max_bytes)
        except _TooLarge:
            log.warning("fhir.too_large", extra={"source": source.name, "peer": _peer(request)})
            return _refusal(413, "too-long", f"the body is longer than {self.max_bytes} bytes")
        except ClientDisconnect:
            log.info("fhir.hung_up", extra={"source": source.name, "peer": _peer(request)})
            return _refusal(400, "incomplete", "the body ended early")
        inbound = Inbound(protocol=Protocol.FHIR, source=source.name, peer=_peer(request), raw=raw)
        return await run_in_threadpool(self._take, inbound, source)

    def _take(self, inbound: Inbound, source: Source) -> Response:
        """Runs in a thread of its own; nothing may escape it."""
        understood = self._understood(inbound.raw, source)
        try:
            answered = self._received(inbound, understood)
        except Unavailable:
            log.exception("fhir.unavailable", extra={"source": source.name})
            return _refusal(503, "transient", _NOT_TAKEN, {"Retry-After": str(RETRY_AFTER_S)})
        except Exception:
            log.exception("fhir.failed", extra={"source": source.name})
            return _refusal(500, "exception", _NOT_TAKEN)
        extra = {"source": source.name, "message_id": answered.message_id, "state": answered.state}
        log.info("fhir.repeat" if answered.is_repeat else "fhir.received", extra=extra)
        return _answer(_status(understood), answered.answer)

    def _understood(self, raw: bytes, source: Source) -> Understood:
        """The meaning of the body; also of one at which we fail, for it is kept all the same."""
        try:
            known = known_to(self.ports.database, source.name) if source.base_url else None
            return understand(raw, source, self.modules(), known=known, at=self.ports.clock())
        except Exception:
            log.exception("fhir.not_interpreted", extra={"source": source.name})
            return not_understood(raw, source)

    def _received(self, inbound: Inbound, understood: Understood) -> Answered:
        def render(receipt: Receipt) -> bytes:
            return encode(render_answer(understood, receipt))

        return receive(self.ports, inbound, lambda _: understood.interpretation, render)

    def _source(self, request: Request) -> Source | None:
        return self.sources.get(request.path_params["source"])


def _status(understood: Understood) -> int:
    """400 is for what is no FHIR alone: senders switch off a receiver that answers 4xx to what they can send."""
    if understood.interpretation.failure_code == OUR_FAULT:
        return 500
    return 200 if understood.arrival is not None else 400


async def _body(request: Request, max_bytes: int) -> bytes:
    """The body, read no further than allowed. Raises _TooLarge, ClientDisconnect."""
    announced = request.headers.get("content-length", "")
    if announced.isascii() and announced.isdigit() and len(announced) < 20 and int(announced) > max_bytes:
        raise _TooLarge
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > max_bytes:
            raise _TooLarge
    return bytes(body)


def _peer(request: Request) -> str:
    return request.client.host if request.client else ""


def _unknown() -> Response:
    return _refusal(404, "not-found", "no source of that name is configured")


def _refusal(status: int, code: str, text: str, headers: Mapping[str, str] | None = None) -> Response:
    issue = Issue(severity="error", code=code, text=text)
    return _answer(status, encode(render_outcome(issue)), headers)


def _answer(status: int, body: bytes, headers: Mapping[str, str] | None = None) -> Response:
    return Response(body, status_code=status, headers=dict(headers or {}), media_type=MEDIA_TYPE)
