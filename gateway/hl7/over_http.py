"""HL7 v2 over HTTP: a message is the body of a POST, and its acknowledgement the body of the answer."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from gateway.hl7.access import TRIES_WITHIN, Access, Tries
from gateway.hl7.framing import CR, FS, VT
from gateway.hl7.inbound import Inlet
from gateway.model.credential import Basic, Bearer, challenge_for, is_proof

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/hl7-v2"
RETRY_AFTER_S = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """One listener, reached by HTTP."""

    inlet: Inlet
    auth: Bearer | Basic | None  # None: whoever reaches the port may send
    access: Access
    max_bytes: int


class _TooLarge(Exception):
    """The body is longer than allowed."""


def routes(doors: Mapping[str, Door], clock: Callable[[], datetime]) -> list[Route]:
    """POST /hl7/{listener}, for the listeners in `doors`; others are not found."""
    edge = _Edge(doors=doors, tries=Tries(clock))
    return [Route("/hl7/{listener}", edge.take, methods=["POST"])]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Edge:
    """What the route leans on."""

    doors: Mapping[str, Door]
    tries: Tries

    async def take(self, request: Request) -> Response:
        """200 with whatever HL7 answers, 204 when the sender wants no answer, 503 when nothing could be stored.

        The content type is not looked at: senders write what they like, and MSH-18 names the character set.
        """
        name = request.path_params["listener"]
        door = self.doors.get(name)
        if door is None:
            return _refusal(404, "no listener of that name takes HL7 over HTTP")
        peer = request.client.host if request.client else ""
        refusal = self._refusal(request, name, door, peer)
        if refusal is not None:
            return refusal
        try:
            raw = await _body(request, door.max_bytes)
        except _TooLarge:
            log.warning("hl7.http_too_large", extra={"listener": name, "peer": peer})
            return _refusal(413, f"the body is longer than {door.max_bytes} bytes")
        except ClientDisconnect:
            log.info("hl7.http_hung_up", extra={"listener": name, "peer": peer})
            return _refusal(400, "the body ended early")
        return await run_in_threadpool(_taken, door.inlet, raw, peer, name)

    def _refusal(self, request: Request, name: str, door: Door, peer: str) -> Response | None:
        """Why the peer is not let in; None when it is."""
        if not door.access.admits_address(peer):
            log.warning("hl7.http_turned_away", extra={"listener": name, "peer": peer})
            return _refusal(403, "this address may not send to the listener")
        if self.tries.is_barred(peer):
            seconds = int(TRIES_WITHIN.total_seconds())
            return _refusal(429, "too many failed attempts; try again later", {"Retry-After": str(seconds)})
        if is_proof(door.auth, request.headers.get("authorization", "")):
            return None
        self.tries.note(peer)
        log.warning("hl7.http_not_admitted", extra={"listener": name, "peer": peer})
        return _refusal(401, "the sender is not known", {"WWW-Authenticate": challenge_for(door.auth, "hl7")})


def _taken(inlet: Inlet, raw: bytes, peer: str, name: str) -> Response:
    """Runs in a thread of its own; nothing may escape it."""
    try:
        reply = inlet.reply(_unframed(raw), peer)
    except Exception:
        log.exception("hl7.http_failed", extra={"listener": name})
        return _refusal(500, "the gateway failed to take the message; it may be sent again")
    if not reply.is_kept:
        headers = {"Retry-After": str(RETRY_AFTER_S)}
        return Response(reply.answer, status_code=503, headers=headers, media_type=MEDIA_TYPE)
    if not reply.answer:
        return Response(status_code=204)
    return Response(reply.answer, media_type=MEDIA_TYPE)


def _unframed(raw: bytes) -> bytes:
    """The message without the MLLP frame that some senders leave around it."""
    return raw.removeprefix(VT).removesuffix(CR).removesuffix(FS) if raw.startswith(VT) else raw


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


def _refusal(status: int, text: str, headers: Mapping[str, str] | None = None) -> Response:
    return PlainTextResponse(f"{text}\n", status, headers=dict(headers or {}))
