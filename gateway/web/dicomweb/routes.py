"""Every address of DICOMweb, and what an error looks like there."""

import logging
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from gateway.flow.ports import Ports
from gateway.model.errors import GatewayError, Malformed, NotFound, Refused, Unavailable
from gateway.web.dicomweb import ROOT, frames, metadata, pictures, retrieve, search
from gateway.web.dicomweb.accept import Unacceptable
from gateway.web.dicomweb.admission import Unproven, reader
from gateway.web.dicomweb.asked import Asked, Service
from gateway.web.site import session_cookie

_Answer: TypeAlias = Callable[[Asked], Response]

log = logging.getLogger(__name__)

STATUS: dict[type[GatewayError], int] = {
    Malformed: 400,
    Unproven: 401,
    Refused: 403,
    NotFound: 404,
    Unacceptable: 406,
    Unavailable: 503,
}

_STUDY = "/studies/{study}"
_SERIES = f"{_STUDY}/series/{{series}}"
_INSTANCE = f"{_SERIES}/instances/{{instance}}"

TABLE: tuple[tuple[str, _Answer], ...] = (
    ("/studies", search.studies),
    ("/series", search.series),
    ("/instances", search.instances),
    (f"{_STUDY}/series", search.series),
    (f"{_STUDY}/instances", search.instances),
    (f"{_SERIES}/instances", search.instances),
    (_STUDY, retrieve.objects),
    (_SERIES, retrieve.objects),
    (_INSTANCE, retrieve.objects),
    (f"{_STUDY}/metadata", metadata.metadata),
    (f"{_SERIES}/metadata", metadata.metadata),
    (f"{_INSTANCE}/metadata", metadata.metadata),
    (f"{_INSTANCE}/frames/{{frames}}", frames.frames),
    (f"{_INSTANCE}/rendered", pictures.picture),
    (f"{_INSTANCE}/thumbnail", pictures.picture),
)
"""Source: DICOM PS3.18 tables 10.1-1, 10.4.1-1 and 10.6.1-1."""


def routes(ports: Ports, *, public_url: str = "", secure_cookies: bool = False) -> list[Route]:
    """The addresses, for those with a token of the scope "dicomweb" and those who are logged in.

    `public_url` is our address as others reach it; without it answers name the address that they were asked at.
    """
    service = Service(ports=ports, public_url=public_url)
    cookie = session_cookie(is_secure=secure_cookies)
    return [
        Route(ROOT + path, _endpoint(service, answer, cookie), methods=["GET"], name=f"GET {ROOT}{path}")
        for path, answer in TABLE
    ]


def _endpoint(service: Service, answer: _Answer, cookie: str) -> Callable[[Request], Awaitable[Response]]:
    def respond(request: Request) -> Response:
        try:
            admitted = reader(service.ports, request, cookie=cookie)
            return answer(Asked(service=service, request=request, reader=admitted))
        except GatewayError as error:
            return _refusal(error)

    async def endpoint(request: Request) -> Response:
        return await run_in_threadpool(respond, request)

    return endpoint


def _refusal(error: GatewayError) -> Response:
    status = next((code for kind, code in STATUS.items() if isinstance(error, kind)), 500)
    headers = {"WWW-Authenticate": error.challenge} if isinstance(error, Unproven) else {}
    log.info("dicomweb.refused", extra={"status": status, "error": type(error).__name__})
    return PlainTextResponse(f"{error}\n", status, headers=headers)
